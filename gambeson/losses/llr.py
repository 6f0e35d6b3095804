"""LLR: local linearity regularisation (Qin et al. 2019)."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson import geometry
from gambeson.errors import UserError
from gambeson.losses.cure import length, tangent
from gambeson.losses.terms import answer, ascend, at_least, not_negative
from gambeson.models.batch_statistics import reused
from gambeson.models.first_layers import quick_to_images
from gambeson.models.modes import frozen
from gambeson.types import Ball, Images, Labels, Norm


def llr(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    eps: float,
    lam: float = 4.0,
    mu: float = 3.0,
    norm: Norm = "linf",
    steps: int = 10,
    step_size: float = 0.1,
    step_rule: str = "adam",
    search: Literal["exact", "official", "loss"] = "exact",
    slope: Literal["delta", "gradient_norm"] = "delta",
    second_order: bool = True,
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """l(x) + lam g(d) + mu |<d, grad l(x)>|, d = the point of the ball where g is largest, l = CE(f, y),

    g(d) = |l(x + d) - l(x) - <d, grad l(x)>|: how far from linear the loss is around x. The mean over images, each with
    its own absolute values.

    Args:
        players: {"model": f}, images -> logits (N, K). Published with softplus in place of ReLU.
        x: images (N, C, H, W) in [0, 1]; x + d is in [0, 1] too.
        y: labels (N,).
        state: handed back as it came.
        generator: the source of the random starts of d, on x's device.
        eps: radius of the ball in [0, 1] pixel units and in `norm`, >= 0. 0 is `plain` (with slope = "delta").
        lam, mu: >= 0. The paper's CIFAR-10 model: 4 and 3; the published configuration, per unit of cross-entropy: 2
            and 0.6.
        norm: "linf", "l2" or "l1".
        steps, step_size, step_rule: of the search, as in `attacks.pgd`; the published Adam with 0.1.
        search: what d climbs. "exact": g. "official": g with <d, grad l(x)> held fixed, as the published code has it.
            "loss": l(x + d), as in adversarial training.
        slope: "delta", or "gradient_norm": mu || grad l(x) ||_2 in place of the last term, which the paper found worse.
        second_order: differentiate grad l(x) to the weights too; False holds it fixed.
    Returns:
        ({"cross_entropy": scalar, "linearity": lam g, "slope": the last term}, state).

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = llr({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                generator=torch.Generator(), eps=0.1)
    >>> {name: round(term.item(), 4) for name, term in terms.items()}
    {'cross_entropy': 0.6931, 'linearity': 0.0, 'slope': 0.0}

    Paper: Qin et al., "Adversarial robustness through local linearization", NeurIPS 2019, arXiv:1907.02610. d is held
    fixed; second-order gradients through grad l(x). Batch normalisation, as in its code: everything near x is mapped
    with the statistics of the clean batch, which takes a second clean pass; its gradient holds them fixed, so that g is
    of one function. We differ: without batch normalisation one clean pass is enough; Adam takes g / max|g|, with 1e-8
    (the code: g, 1e-9). Dropout draws a mask for each pass, so do without it.
    """
    at_least("steps", steps, 1)
    not_negative(lam=lam, mu=mu)
    for name, value, known in (
        ("search", search, ("exact", "official", "loss")),
        ("slope", slope, ("delta", "gradient_norm")),
    ):
        if value not in known:
            raise UserError(f"{name} is {value!r}; it must be one of {', '.join(known)}")
    model, ball = players["model"], Ball(norm, eps)
    if lam == 0 and (mu == 0 or (eps == 0 and slope == "delta")):
        return {"cross_entropy": cross_entropy(answer(model, x), y)}, state
    loss, near, gradient, statistics = tangent(model, x, y, second_order)
    clean, fixed = near.detach(), gradient.detach()

    def climbed(at: Images) -> Tensor:
        there = cross_entropy(answer(model, at), y, reduction="none")
        if search == "loss":
            return there
        moved = at.detach() if search == "official" else at
        return (there - clean - along(moved - x.detach(), fixed)).abs()

    with frozen(model), quick_to_images(model), reused(model, statistics, detached=True):
        found = ascend(
            climbed, geometry.anywhere(x, ball, generator), onto=geometry.onto(x, ball), norm=norm, steps=steps,
            step_size=step_size, step_rule=step_rule,
        )  # fmt: skip
    delta = found - x.detach()
    with reused(model, statistics):
        there = cross_entropy(answer(model, found), y, reduction="none")
    rise = along(delta, gradient)
    last = length(gradient) if slope == "gradient_norm" else rise.abs()
    terms = {"linearity": lam * (there - near - rise).abs().mean(), "slope": mu * last.mean()}
    return {"cross_entropy": loss.mean(), **terms}, state


def along(delta: Tensor, gradient: Tensor) -> Tensor:
    """<delta, gradient> of every image (N,)."""
    return (delta * gradient).flatten(1).sum(1)
