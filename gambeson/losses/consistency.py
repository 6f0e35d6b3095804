"""Consistency regularisation: predictions under noise are to agree (Jeong and Shin 2020)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson.losses.terms import answer, consistency_of, draws_of, not_negative
from gambeson.noise import Kind
from gambeson.types import Images, Labels


def consistency(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    sigma: float,
    weight: float,
    entropy: float = 0.5,
    draws: int = 2,
    noise: Kind = "gaussian",
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """(1/m) sum_i [ CE(f(x + e_i), y) + weight KL(p_mean || p_i) ] + entropy H(p_mean), p_mean = (1/m) sum_i p_i.

    Args:
        players: {"model": f}, images -> logits (N, K); p_i = softmax f(x + e_i).
        x: images (N, C, H, W) in [0, 1]; the noisy ones are not clipped.
        y: labels (N,).
        state: handed back as it came.
        generator: the source of all noise, on x's device.
        sigma: scale of the noise in [0, 1] pixel units, >= 0.
        weight, entropy: >= 0. Published: entropy 0.5; weight 10 (MNIST, sigma 0.25), 5 (0.5, 1), CIFAR-10 20 (0.25),
            10 (0.5, 1). With too large a weight every prediction becomes the same.
        draws: m >= 1; published 2.
        noise: "gaussian", "laplace", "uniform" or "splitting".
    Returns:
        ({"cross_entropy": scalar, "consistency": the other two terms}, state).

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = consistency({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                        generator=torch.Generator(), sigma=0.5, weight=5.0)
    >>> {name: round(term.item(), 4) for name, term in terms.items()}
    {'cross_entropy': 0.6931, 'consistency': 0.3466}

    Paper: Jeong and Shin, "Consistency regularization for certified robustness of smoothed classifiers", NeurIPS 2020,
    arXiv:2006.04062. Gradients flow through p_mean and all p_i, as in its code. First order; all copies go through f in
    one pass of m N rows. We differ: log p_mean by logsumexp, not log(max(p, 1e-20)).
    """
    not_negative(weight=weight, entropy=entropy)
    drawn, noisy = draws_of(x, noise, sigma, draws, generator)
    logits = answer(players["model"], noisy(x[:, None], drawn).flatten(0, 1))
    terms = {"cross_entropy": cross_entropy(logits, y.repeat_interleave(draws))}
    if weight or entropy:
        terms["consistency"] = consistency_of(logits.unflatten(0, (len(x), draws)), weight, entropy)
    return terms, state
