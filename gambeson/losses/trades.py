"""TRADES: a price on what the worst neighbour's prediction differs (Zhang et al. 2019)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson import geometry
from gambeson.losses.terms import answer, ascend, at_least, jittered, kl_divergence, kl_of_each, not_negative, searched
from gambeson.types import Ball, Images, Labels, Norm


def trades(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    eps: float,
    beta: float = 6.0,
    norm: Norm = "linf",
    steps: int = 10,
    step_size: float | None = None,
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """CE(f(x), y) + beta KL( p(x) || p(x') ), x' = the point of the ball where steps on this KL end; p = softmax f.

    Args:
        players: {"model": f}, images -> logits (N, K).
        x: images (N, C, H, W) in [0, 1]; x' is in [0, 1] too.
        y: labels (N,).
        state: handed back as it came.
        generator: the source of the random starts x + 0.001 N(0, 1), on x's device.
        eps: radius of the ball in [0, 1] pixel units and in `norm`, >= 0.
        beta: >= 0; published with 6 (CIFAR-10) and 1 (MNIST). 0 is `plain`.
        norm: "linf", "l2" or "l1".
        steps: >= 1, from the start, along signs in linf, normalised gradients in l2.
        step_size: in `norm`; None: 2.5 eps / steps.
    Returns:
        ({"cross_entropy": scalar, "trades": beta times the divergence}, state).

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = trades({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                   generator=torch.Generator(), eps=0.1)
    >>> {name: round(term.item(), 4) for name, term in terms.items()}
    {'cross_entropy': 0.6931, 'trades': 0.0}

    Paper: Zhang et al., "Theoretically principled trade-off between robustness and accuracy", ICML 2019,
    arXiv:1901.08573. Gradients flow through both predictions of the KL. As in its code the search sees the model in
    evaluation mode. We differ: clean and moved images go through f in one pass of 2 N rows, so batch normalisation
    sees their mixture.
    """
    at_least("steps", steps, 1)
    not_negative(beta=beta)
    model, ball = players["model"], Ball(norm, eps)
    if beta == 0:
        return {"cross_entropy": cross_entropy(answer(model, x), y)}, state
    start = jittered(x, generator)
    with searched(model):
        with torch.no_grad():
            target = answer(model, x)
        x_adv = ascend(
            lambda at: kl_of_each(target, answer(model, at)), start, onto=geometry.onto(x, ball), norm=norm,
            steps=steps, step_size=2.5 * eps / steps if step_size is None else step_size,
        )  # fmt: skip
    clean, moved = answer(model, torch.cat([x, x_adv])).chunk(2)
    return {"cross_entropy": cross_entropy(clean, y), "trades": beta * kl_divergence(clean, moved)}, state
