"""Fast adversarial training: one signed step from a random start (Wong, Rice and Kolter 2020)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson import geometry
from gambeson.losses.terms import answer, ascend, searched
from gambeson.types import Ball, Images, Labels, Norm


def fast(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    eps: float,
    norm: Norm = "linf",
    step_size: float | None = None,
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """CE(f(x'), y) at x' = P(u + step_size sign grad CE(f(u), y)), u a random point of the ball around x.

    Args:
        players: {"model": f}, images -> logits (N, K).
        x: images (N, C, H, W) in [0, 1]; x' is in [0, 1] too.
        y: labels (N,).
        state: handed back as it came.
        generator: the source of the random starts, on x's device.
        eps: radius of the ball in [0, 1] pixel units and in `norm`, >= 0. 0 is `plain`.
        norm: "linf", "l2" or "l1".
        step_size: None: 1.25 eps, as published.
    Returns:
        ({"cross_entropy": scalar}, state).

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = fast({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                 generator=torch.Generator(), eps=0.1)
    >>> round(terms["cross_entropy"].item(), 4)
    0.6931

    Paper: Wong, Rice and Kolter, "Fast is better than free: revisiting adversarial training", ICLR 2020,
    arXiv:2001.03994. We differ: the attack sees the model in evaluation mode, and the start is put into the box.
    """
    model, ball = players["model"], Ball(norm, eps)
    if eps > 0:
        start = geometry.anywhere(x, ball, generator)
        with searched(model):
            x = ascend(
                lambda at: cross_entropy(answer(model, at), y, reduction="none"), start, onto=geometry.onto(x, ball),
                norm=norm, steps=1, step_size=1.25 * eps if step_size is None else step_size,
            )  # fmt: skip
    return {"cross_entropy": cross_entropy(answer(model, x), y)}, state
