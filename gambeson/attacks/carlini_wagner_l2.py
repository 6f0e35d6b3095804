"""Carlini and Wagner's l2 attack."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gambeson.attacks.adam import adam
from gambeson.attacks.arguments import check_aims, check_some
from gambeson.attacks.nearest import Nearest, begin, end, hard, keep
from gambeson.attacks.objectives import objective
from gambeson.attacks.result import Result, vetted
from gambeson.attacks.search import Rows, Seen, gradient_to
from gambeson.attacks.tanh import from_tanh, to_tanh
from gambeson.errors import UserError
from gambeson.types import Box, Classifier, Images, Labels

_LARGEST, _GROWTH = 1e10, 10.0  # of c: what stands for "no upper end yet", and what it grows by until there is one
_LOOKS = 10  # how often a descent is looked at, whether it still goes on
_STUCK = 0.9999


def carlini_wagner_l2(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    steps: int = 1_000,
    searches: int = 9,
    initial: float = 1e-3,
    step_size: float = 0.01,
    confidence: float = 0.0,
    targets: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """The smallest l2 perturbation that fools: distance and margin in one loss, their balance by binary search.

        min over w   ||x_adv - x||_2^2 + c max(confidence - margin(x_adv), 0),   x_adv = (tanh(w) + 1) / 2 in the box

    by Adam, from x, for c = `initial` at first: ten times as large until something fools, then between the largest c
    that failed and the smallest that did not. margin = max_{s != y} z_s - z_y, with targets z_t - max_{s != t} z_s.

    steps       of Adam for each c, >= 1 (published: 10,000); step_size: its rate. An image whose loss has not fallen by
                1e-4 of itself within a tenth of them is done with this c.
    searches    values of c, >= 1. confidence: >= 0, the margin that counts as fooling while c is sought.

    Returns the nearest point visited that fools (with that margin; an image that is misclassified as it is comes back
    whatever its margin), x where there is none (see `Result.reason`).
    Nothing is random.

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> found = carlini_wagner_l2(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0]), steps=300, searches=5)
    >>> round(found.distance.item(), 2)
    0.2

    Carlini and Wagner 2017, arXiv:1608.04644. Different: images whose descent is stuck stop on their own, not all at
    once, so that the batch split changes nothing.
    """
    box = box or Box()
    check_some(x, y, box=box, keys=range(len(x)) if keys is None else keys, steps=steps, searches=searches)
    check_aims(x, y, targets, None)
    if not (initial > 0 and step_size > 0 and confidence >= 0):
        raise UserError(
            f"initial is {initial}, step_size {step_size}, confidence {confidence}; they must be > 0, > 0 and >= 0"
        )
    with torch.inference_mode(False):
        everyone, nearest = begin(logits, x, y, targets, loss="margin")
        rows = hard(everyone, nearest)
        c = torch.full((len(rows.x),), initial, dtype=torch.float64, device=x.device)
        below, above = torch.zeros_like(c), torch.full_like(c, _LARGEST)
        for _ in range(searches if len(rows.x) else 0):
            fooled = _descend(rows, c, nearest, box, steps, step_size, confidence)
            above, below = (
                torch.where(fooled, torch.minimum(above, c), above),
                torch.where(fooled, below, torch.maximum(below, c)),
            )
            c = torch.where(above < _LARGEST, (below + above) / 2, c * _GROWTH)
    return end(logits, x, y, nearest, everyone, norm="l2", loss="margin", box=box)


def _descend(
    rows: Rows, c: Tensor, nearest: Nearest, box: Box, steps: int, step_size: float, confidence: float
) -> Tensor:
    """Whether anything fooled at this c (n,)."""
    fooled = torch.zeros_like(c, dtype=torch.bool)
    place, start = torch.arange(len(c), device=c.device), to_tanh(rows.x, box)
    state: tuple[Tensor, ...] = ()
    moved = torch.zeros_like(start)
    before = torch.full_like(c, torch.inf)
    for count in range(1, steps + 1):
        w = (start + moved).requires_grad_()
        with torch.enable_grad():
            x_adv = from_tanh(w, box)
            z = rows.logits(x_adv)
            margin = objective("margin", z, rows.y, rows.aims)
            hinge = c.to(margin.dtype) * (confidence - margin).clamp(min=0)
            pull, away = gradient_to(x_adv, hinge), x_adv.detach() - rows.x
            [grad] = torch.autograd.grad(x_adv, w, pull + 2 * away)
            loss = away.flatten(1).square().sum(1) + hinge
        won = (margin.detach() > 0) & (margin.detach() >= confidence)
        grad, refused = vetted(z, grad)
        keep(nearest, rows, x_adv.detach(), Seen(margin.detach(), won, refused, grad), "l2")
        fooled[place] |= won
        step, state = adam(grad, state, count)
        moved = moved - step_size * step
        if count % max(steps // _LOOKS, 1) == 0:
            now = loss.detach().double()
            left = (now <= _STUCK * before).nonzero()[:, 0]
            if len(left) == 0:
                break
            rows, place, start, moved, c = rows.select(left), place[left], start[left], moved[left], c[left]
            before = now[left]
            state = tuple(kept[left] for kept in state)
    return fooled
