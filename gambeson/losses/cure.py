"""CURE: a price on the curvature of the loss (Moosavi-Dezfooli et al. 2019)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson.errors import UserError
from gambeson.geometry import steepest
from gambeson.losses.terms import answer, not_negative
from gambeson.models.batch_statistics import Statistics, normalises, recorded, reused
from gambeson.types import Images, Labels


def cure(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    h: float,
    weight: float = 4.0,
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """l(x) + weight || grad l(x + h z) - grad l(x) ||_2, z = sign(grad l(x)) / || sign(grad l(x)) ||_2, l = CE(f, y).

    Args:
        players: {"model": f}, images -> logits (N, K).
        x: images (N, C, H, W) in [0, 1]; x + h z is not clipped.
        y: labels (N,).
        state: handed back as it came.
        generator: not used.
        h: l2 length of the move in [0, 1] pixel units, > 0. Published: 3 for images that are normalised by their
            standard deviations, so about 0.7 for CIFAR-10 in pixels; reached in steps over the first epochs.
        weight: >= 0. 0 is `plain`.
    Returns:
        ({"cross_entropy": scalar, "curvature": weight times the mean length}, state).

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = cure({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                 generator=torch.Generator(), h=0.5)
    >>> {name: round(term.item(), 4) for name, term in terms.items()}
    {'cross_entropy': 0.6931, 'curvature': 0.0}

    Paper: Moosavi-Dezfooli, Fawzi, Uesato and Frossard, "Robustness via curvature regularization, and vice versa",
    CVPR 2019, arXiv:1811.09716; the length is not squared, as in its code. z is held fixed; both gradients are
    differentiated to the weights (second order). Published for networks that were trained before. We differ from the
    code: without batch normalisation no third pass over x; with it, where the code maps with running averages inside
    the second term, both of its passes map with the statistics of the clean batch. Without dropout: it draws a mask for
    each pass.
    """
    not_negative(weight=weight)
    if not h > 0:
        raise UserError(f"h is {h}; it must be > 0, an l2 length in [0, 1] pixel units")
    model = players["model"]
    if weight == 0:
        return {"cross_entropy": cross_entropy(answer(model, x), y)}, state
    loss, _, here, statistics = tangent(model, x, y)
    moved = (x + steepest(here.detach().sign(), x, "l2", h)).detach().requires_grad_()
    with reused(model, statistics):
        near = cross_entropy(answer(model, moved), y, reduction="sum")
    [there] = torch.autograd.grad(near, moved, create_graph=True)
    return {"cross_entropy": loss.mean(), "curvature": weight * length(there - here).mean()}, state


def tangent(
    model: nn.Module, x: Images, y: Labels, second_order: bool = True
) -> tuple[Tensor, Tensor, Tensor, Statistics]:
    """l(x) (N,) to be minimised, l(x) and its gradient to x as a function of the image alone, the batch's statistics.

    With batch normalisation that takes a second pass: through the first, an image's loss depends on the others, and
    their statistics on the image.
    """
    first = x.detach().requires_grad_(not normalises(model))
    with recorded(model) as statistics:
        loss = near = cross_entropy(answer(model, first), y, reduction="none")
    if statistics:
        first = x.detach().requires_grad_()
        with reused(model, statistics):
            near = cross_entropy(answer(model, first), y, reduction="none")
    [gradient] = torch.autograd.grad(near.sum(), first, create_graph=second_order, retain_graph=True)
    return loss, near, gradient, statistics


def length(each: Tensor) -> Tensor:
    """l2 lengths (N,), whose gradient at 0 is 0 instead of NaN."""
    squares = each.flatten(1).square().sum(1)
    none = squares == 0
    return torch.where(none, 0.0, torch.where(none, 1.0, squares).sqrt())
