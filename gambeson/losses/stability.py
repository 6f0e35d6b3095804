"""Stability training with noise, STN (Li, Chen, Wang and Carin 2019), and its KL form (Yang, Duan et al. 2020)."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson.errors import UserError
from gambeson.losses.terms import answer, kl_divergence, noisy_copy, not_negative, soft_cross_entropy
from gambeson.noise import Kind
from gambeson.types import Images, Labels


def stability(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    sigma: float,
    weight: float = 1.0,
    divergence: Literal["cross_entropy", "kl"] = "cross_entropy",
    noise: Kind = "gaussian",
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """Cross-entropy plus a price on predictions that move under noise; gradients flow through both predictions.

    cross_entropy: CE(f(x), y) + weight H(p(x), p(x + e));  kl: CE(f(x + e1), y) + weight KL(p(x + e1) || p(x + e2)),
    with p = softmax f, H(p, q) = -sum_j p_j log q_j, fresh noise for every image and step.

    Args:
        players: {"model": f}, images -> logits (N, K).
        x: images (N, C, H, W) in [0, 1]; the noisy ones are not clipped.
        y: labels (N,).
        state: handed back as it came.
        generator: the source of all noise, on x's device.
        sigma: scale of the noise in [0, 1] pixel units, >= 0 (gaussian: sigma, laplace: b, uniform and
            splitting: half-width).
        weight: >= 0. STN's author used 1, Jeong & Shin 2 (1 for CIFAR-10 at sigma 1); the KL form was published with 6.
        divergence: "cross_entropy" (STN) or "kl".
        noise: "gaussian", "laplace", "uniform" or "splitting".
    Returns:
        ({"cross_entropy": scalar, "stability": weight times the divergence}, state). The loss is their sum. With
        weight 0 it is `plain`'s (cross_entropy) or `noisy`'s (kl), at the price of one forward pass of N rows.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = stability({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                      generator=torch.Generator(), sigma=0.5, weight=2.0)
    >>> {name: round(term.item(), 4) for name, term in terms.items()}
    {'cross_entropy': 0.6931, 'stability': 1.3863}

    Paper: Li, Chen, Wang and Carin, "Certified adversarial robustness with additive noise", NeurIPS 2019. We differ
    from its released code on purpose: the target is softmax f(x), not the raw logits, and the second term is not
    CE(f(x + e), y). Both copies go through f in one pass of 2 N rows, so batch normalisation sees their mixture: the
    f of the two terms is one function, and the running averages estimate the statistics that training used.
    """
    not_negative(weight=weight)
    if divergence not in ("cross_entropy", "kl"):
        raise UserError(f"divergence is {divergence!r}; it must be cross_entropy or kl")
    model = players["model"]
    first = noisy_copy(x, noise, sigma, generator) if divergence == "kl" else x
    if weight == 0:
        return {"cross_entropy": cross_entropy(answer(model, first), y)}, state
    second = noisy_copy(x, noise, sigma, generator)
    target, moved = answer(model, torch.cat([first, second])).chunk(2)
    distance = kl_divergence(target, moved) if divergence == "kl" else soft_cross_entropy(target, moved)
    return {"cross_entropy": cross_entropy(target, y), "stability": weight * distance}, state
