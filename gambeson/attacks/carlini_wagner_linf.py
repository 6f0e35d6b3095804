"""Carlini and Wagner's linf attack."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gambeson.attacks.adam import adam
from gambeson.attacks.arguments import check_aims, check_some
from gambeson.attacks.nearest import Nearest, begin, end, hard, keep
from gambeson.attacks.objectives import objective
from gambeson.attacks.result import Result, vetted
from gambeson.attacks.search import Rows, Seen, column, gradient_to
from gambeson.attacks.tanh import from_tanh, to_tanh
from gambeson.errors import UserError
from gambeson.geometry import distance
from gambeson.types import Box, Classifier, Images, Labels

_SETTLED = 1e-4  # of c: a loss that small cannot fall
_LOOKS_APART = 10


def carlini_wagner_linf(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    steps: int = 1_000,
    step_size: float = 5e-3,
    initial: float = 1e-5,
    largest: float = 20.0,
    shrink: float = 0.9,
    smallest: float = 1 / 255,
    targets: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """The smallest linf perturbation that fools: a limit tau that only pixels beyond it pay for, and that shrinks.

        min over w   sum_i max(|x_adv - x|_i - tau, 0) + c max(-margin(x_adv), 0),   x_adv = (tanh(w) + 1) / 2

    by Adam, from where the last descent ended, tau = 1 and c = `initial` at first. A descent is solved where it fools
    and its loss is below 1e-4 c: tau shrinks to `shrink` times the distance there, or times itself if that is less;
    otherwise c doubles; until c > `largest` or tau < `smallest`.

    steps       of Adam in one descent, >= 1; every tenth it is looked whether it is solved. step_size: its rate.
                initial, largest: > 0. shrink: in (0, 1). smallest: > 0, in pixel units.
    targets, box, keys: as in `pgd`. Nothing is random.

    Returns the nearest point visited that fools, x where there is none (see `Result.reason`).

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> found = carlini_wagner_linf(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0]), steps=200, initial=0.1)
    >>> round(found.distance.item(), 1)
    0.1

    Carlini and Wagner 2017, arXiv:1608.04644, and their code.
    """
    box = box or Box()
    check_some(x, y, box=box, keys=range(len(x)) if keys is None else keys, steps=steps)
    check_aims(x, y, targets, None)
    if not (step_size > 0 and 0 < initial <= largest and 0 < shrink < 1 and smallest > 0):
        raise UserError(
            f"step_size is {step_size}, initial {initial}, largest {largest}, shrink {shrink}, smallest {smallest}; "
            "all must be > 0, initial at most largest, and shrink < 1"
        )
    with torch.inference_mode(False):
        everyone, nearest = begin(logits, x, y, targets, loss="margin")
        rows = hard(everyone, nearest)
        start, moved = to_tanh(rows.x, box), torch.zeros_like(rows.x)
        tau = torch.ones(len(rows.x), dtype=torch.float64, device=x.device)
        c = torch.full_like(tau, initial)
        while True:
            left = ((tau >= smallest) & (c <= largest)).nonzero()[:, 0]
            if len(left) == 0:
                break
            rows, start, moved, tau, c = rows.select(left), start[left], moved[left], tau[left], c[left]
            reached, moved = _descend(rows, start, moved, tau, c, nearest, box, steps, step_size)
            solved = reached < torch.inf
            tau = torch.where(solved, shrink * torch.minimum(tau, reached), tau)
            c = torch.where(solved, c, 2 * c)
    return end(logits, x, y, nearest, everyone, norm="linf", loss="margin", box=box)


def _descend(
    rows: Rows, start: Tensor, moved: Tensor, tau: Tensor, c: Tensor, nearest: Nearest, box: Box, steps: int,
    step_size: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """How far from x each descent was solved (n,), inf where it was not, and where it ended."""
    reached, place = torch.full_like(tau, torch.inf), torch.arange(len(tau), device=tau.device)
    state: tuple[Tensor, ...] = ()
    ended = moved.clone()
    for count in range(1, steps + 1):
        w = (start + moved).requires_grad_()
        with torch.enable_grad():
            x_adv = from_tanh(w, box)
            z = rows.logits(x_adv)
            margin = objective("margin", z, rows.y, rows.aims)
            hinge = c.to(margin.dtype) * (-margin).clamp(min=0)
            away = x_adv.detach() - rows.x
            beyond = (away.abs() - column(tau, x_adv).to(x_adv.dtype)).clamp(min=0)
            [grad] = torch.autograd.grad(x_adv, w, gradient_to(x_adv, hinge) + (beyond > 0) * away.sign())
            loss = beyond.flatten(1).sum(1) + hinge.detach()
        grad, refused = vetted(z, grad)
        seen = Seen(margin.detach(), rows.fooled(z.detach()), refused, grad)
        keep(nearest, rows, x_adv.detach(), seen, "linf")
        step, state = adam(grad, state, count)
        moved = moved - step_size * step
        ended[place] = moved
        if count % _LOOKS_APART and count < steps:
            continue
        solved = seen.fooled & (loss.double() < _SETTLED * c)
        length = distance(x_adv.double() - rows.x.double(), "linf")
        reached[place] = torch.where(solved, length, torch.inf)
        going = (~solved).nonzero()[:, 0]
        if len(going) == 0:
            break
        if len(going) < len(c):
            rows, place, start, moved, tau, c = (
                rows.select(going), place[going], start[going], moved[going], tau[going], c[going]
            )  # fmt: skip
            state = tuple(kept[going] for kept in state)
    return reached, ended
