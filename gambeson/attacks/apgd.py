"""Auto-PGD: projected gradient descent that sets its own step sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from gambeson import geometry
from gambeson import keys as _keys
from gambeson.attacks.arguments import check
from gambeson.attacks.result import Result
from gambeson.attacks.search import Best, Rows, begin, column, end, going_on, look, record, unsettled
from gambeson.types import Ball, Box, Classifier, Images, Labels

_MOMENTUM = 0.75  # the share of a step that is new
_WIDER = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))  # l1: (times eps, share of the steps), one after the other


@dataclass(frozen=True)
class _Plan:
    box: Box
    loss: str
    rho: float
    calls: int
    early_stop: bool


def apgd(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    ball: Ball,
    steps: int = 100,
    loss: str = "cross_entropy",
    restarts: int = 1,
    rho: float = 0.75,
    calls: int = 1,
    early_stop: bool = True,
    targets: Labels | None = None,
    towards: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """Gradient steps with momentum, first 2 eps long, then halved where they no longer help.

        z       = P(x_t + eta_t step(grad))
        x_{t+1} = P(x_t + 0.75 (z - x_t) + 0.25 (x_t - x_{t-1}))

    At checkpoints, 0.22 `steps` apart at first and closer each time (0.03 less, down to 0.06), an image whose loss rose
    in fewer than `rho` of the steps since, or whose best loss has not risen although its step stayed as it was, gets
    half the step and goes on from its best point. In l1 steps go along the signs of the largest gradients, as many as
    two thirds of the pixels that its best point changed; balls of 3, 2, 1 eps take turns (Croce and Hein 2021,
    arXiv:2103.01208).

    steps, restarts >= 1; every restart begins at a random point of the ball's surface. loss: as in `pgd`. rho: in
    (0, 1). calls: forward and backward passes at each point, whose losses are averaged: for classifiers that answer
    differently every time (the mean of the losses, not the loss of the mean). early_stop, targets, towards, box, keys:
    as in `pgd`. Calls the classifier 2 + restarts * (steps + 1) * calls times; in l1 steps + 3.

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> apgd(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0]), ball=Ball("linf", 0.2)).success
    tensor([True])

    Croce and Hein 2020, arXiv:2003.01690. Different: exact projection on ball and box instead of clips in turn, an
    image is left alone once it fools, and what is returned is the worst point seen.
    """
    box = box or Box()
    keys = range(len(x)) if keys is None else keys
    check(
        x, y, targets, towards, box=box, keys=keys, steps=steps, step_size=None, restarts=restarts, random_start=True,
        rho=rho, calls=calls,
    )  # fmt: skip
    plan = _Plan(box, loss, rho, calls, early_stop)
    with torch.inference_mode(False):
        everyone, best, _ = begin(logits, x, y, targets, towards, loss=loss, early_stop=early_stop)
        for restart in range(restarts if ball.eps > 0 else 0):
            rows = unsettled(everyone, best)
            if len(rows.number) == 0:
                break
            starts = [keys[row] for row in rows.number.tolist()]
            phases = [(wider * ball.eps, ceil(share * steps)) for wider, share in _WIDER] if ball.norm == "l1" else []
            x_adv = _start(rows.x, Ball(ball.norm, phases[0][0]) if phases else ball, box, starts, restart)
            for eps, count in phases[:-1]:  # a search for where to begin: nothing found there is inside the ball
                x_adv = _climb(
                    rows, geometry.project(x_adv, rows.x, Ball("l1", eps), box), None, Ball("l1", eps), count, plan
                )
            last = steps - sum(count for _, count in phases[:-1])
            x_adv = geometry.project(x_adv, rows.x, ball, box)
            _climb(rows, x_adv, best, ball, max(last, 1), plan)
    return end(logits, x, y, best, norm=ball.norm, loss=loss, rows=everyone)


class _Walk(NamedTuple):
    """One row for each image still under attack."""

    x_adv: Tensor
    before: Tensor  # x_adv one step earlier
    grad: Tensor
    loss: Tensor
    length: Tensor  # of a step
    top: Tensor  # the largest loss on this walk, where, and its gradient
    top_x: Tensor
    top_grad: Tensor
    rises: Tensor  # steps since the last checkpoint that raised the loss
    checked: Tensor  # top at the last checkpoint
    halved: Tensor  # whether the step was halved there
    share: Tensor  # l1: of pixels that a step moves
    moved: Tensor  # l1: pixels that top_x had changed at the last checkpoint

    def select(self, rows: Tensor) -> "_Walk":
        return _Walk(*(values[rows] for values in self))


def _climb(rows: Rows, x_adv: Images, best: Best | None, ball: Ball, steps: int, plan: _Plan) -> Images:
    """`steps` steps from `x_adv`, each recorded in `best`; the point of largest loss, where no row was dropped."""
    walk, since = _begin(rows, x_adv, best, ball, plan), 0
    onto = geometry.onto(rows.x, ball, plan.box)
    gap = max(int((0.04 if ball.norm == "l1" else 0.22) * steps), 1)
    closer, closest = max(int(0.03 * steps), 1), max(int(0.06 * steps), 1)
    for count in range(1, steps + 1):
        if best is not None and plan.early_stop and (left := going_on(rows, best, count)) is not None:
            if len(left) == 0:
                break
            rows, walk = rows.select(left), walk.select(left)
            onto = geometry.onto(rows.x, ball, plan.box)
        walk = _step(walk, rows, onto, best, ball, plan, count)
        since += 1
        if since == gap:
            walk, since = _checkpoint(walk, rows, ball, plan, gap), 0
            gap = gap if ball.norm == "l1" else max(gap - closer, closest)
    return walk.top_x


def _begin(rows: Rows, x_adv: Images, best: Best | None, ball: Ball, plan: _Plan) -> _Walk:
    seen = look(rows, x_adv, plan.loss, gradient=True, calls=plan.calls)
    if best is not None:
        record(best, rows, x_adv, seen, plan.early_stop)
    number = _changed(x_adv, rows.x)
    none, length = torch.zeros_like(number), (1 if ball.norm == "l1" else 2) * ball.eps
    return _Walk(
        x_adv, x_adv, seen.grad, seen.loss, torch.full_like(none, length), seen.loss, x_adv, seen.grad, none, seen.loss,
        torch.ones_like(none, dtype=torch.bool), number / 1.5, number,
    )  # fmt: skip


def _step(
    walk: _Walk, rows: Rows, onto: Callable[[Images], Images], best: Best | None, ball: Ball, plan: _Plan, count: int
) -> _Walk:
    x, length = rows.x, column(walk.length, rows.x).to(rows.x.dtype)
    along = _sparse(walk.grad, walk.share) if ball.norm == "l1" else geometry.steepest(walk.grad, x, ball.norm, 1.0)
    x_adv = onto(walk.x_adv + length * along)
    if count > 1 and ball.norm != "l1":
        pushed = _MOMENTUM * (x_adv - walk.x_adv) + (1 - _MOMENTUM) * (walk.x_adv - walk.before)
        x_adv = onto(walk.x_adv + pushed)
    seen = look(rows, x_adv, plan.loss, gradient=True, calls=plan.calls)
    if best is not None:
        record(best, rows, x_adv, seen, plan.early_stop)
    better, rose = seen.loss > walk.top, seen.loss > walk.loss
    return walk._replace(
        x_adv=x_adv,
        before=walk.x_adv,
        grad=seen.grad,
        loss=seen.loss,
        top=torch.where(better, seen.loss, walk.top),
        top_x=torch.where(column(better, x), x_adv, walk.top_x),
        top_grad=torch.where(column(better, x), seen.grad, walk.top_grad),
        rises=walk.rises + rose,
    )


def _checkpoint(walk: _Walk, rows: Rows, ball: Ball, plan: _Plan, gap: int) -> _Walk:
    """Shorter steps where they do not help, which then go on from the best point."""
    if ball.norm == "l1":
        moved = _changed(walk.top_x, rows.x)
        back = moved < 0.95 * walk.moved  # sparser than before: long steps again
        length = torch.where(back, ball.eps, walk.length / 1.5).clamp(ball.eps / 10, ball.eps)
        walk = walk._replace(share=moved / 1.5, moved=moved, length=length)
    else:
        stuck = ~walk.halved & (walk.checked >= walk.top)
        back = (walk.rises <= plan.rho * gap) | stuck
        walk = walk._replace(length=torch.where(back, walk.length / 2, walk.length), halved=back, checked=walk.top)
    return walk._replace(
        x_adv=torch.where(column(back, walk.x_adv), walk.top_x, walk.x_adv),
        grad=torch.where(column(back, walk.x_adv), walk.top_grad, walk.grad),
        rises=torch.zeros_like(walk.rises),
    )


def _changed(x_adv: Images, x: Images) -> Tensor:
    """The share of pixels that differ, float64 (n,)."""
    return (x_adv != x).flatten(1).double().mean(1)


def _sparse(grad: Tensor, share: Tensor) -> Tensor:
    """The signs of that share of pixels with the largest gradients, of l1 length 1."""
    size = grad.abs().flatten(1)
    number = (share * size.shape[1]).long().clamp(1, size.shape[1])
    threshold = size.sort(dim=1, descending=True).values.gather(1, number[:, None] - 1)
    chosen = (size >= threshold) & (size > 0)
    scaled = chosen / chosen.sum(1, keepdim=True).clamp(min=1)
    return grad.sign() * scaled.reshape(grad.shape).to(grad.dtype)


def _start(x: Images, ball: Ball, box: Box, keys: Sequence[int], restart: int) -> Images:
    """A random point of the ball's surface: linf by its largest pixel, l2 in a Gaussian direction, l1 a Gaussian
    projected on the ball.
    """
    size, starts = x[0].numel(), []
    for key in keys:
        draw = _keys.generator(int(key), "apgd", restart)
        point = draw.uniform(-1.0, 1.0, size) if ball.norm == "linf" else draw.standard_normal(size)
        starts.append(torch.from_numpy(point))
    offset = torch.stack(starts)
    if ball.norm != "l1":
        offset = offset * (ball.eps / geometry.distance(offset, ball.norm))[:, None]
    return geometry.project((x.double() + offset.reshape(x.shape).to(x.device)).to(x.dtype), x, ball, box)
