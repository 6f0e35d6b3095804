"""Fast Adaptive Boundary: the nearest point of a linearised decision boundary, again and again."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gambeson import geometry
from gambeson.attacks.arguments import check
from gambeson.attacks.gradients import nearest_boundary
from gambeson.attacks.result import Result
from gambeson.attacks.search import Best, Rows, begin, column, end, going_on, look, record, unsettled
from gambeson.errors import UserError
from gambeson.types import Ball, Box, Classifier, Images, Labels

_ALPHA, _ETA, _BETA = 0.1, 1.05, 0.9  # pull to the image, overshoot, way back once it fools: as published


def fab(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    ball: Ball,
    steps: int = 100,
    loss: str = "difference",
    restarts: int = 1,
    targets: Labels | None = None,
    towards: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """Small perturbations that fool, and whether one lies inside the ball.

        x_{t+1} = (1 - a) (x_t + 1.05 d_t) + a (x + 1.05 d),   a = min(|d_t| / (|d_t| + |d|), 0.1)

    d_t and d are the shortest moves from x_t and from the image x to the boundary that is linearised at x_t, inside
    the box (`geometry.onto_hyperplane`). A point that fools is drawn back to x + 0.9 (x_t - x). Neither step sizes nor
    scales of logits matter. Untargeted, the nearest of all linearised boundaries counts, which costs a backward pass
    per class; with `towards` (or `targets`) the one to that class: `multi_targeted(attack=fab)` is the published FAB-T.

    loss: what is linearised, 0 on the boundary: "difference"; with `towards` also "margin" or "dlr". The first restart
    begins at x, others at random within half the ball (or half the smallest distance so far). What fools outside the
    ball is no success: x comes back.

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> fab(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0]), ball=Ball("linf", 0.2)).success
    tensor([True])

    Croce and Hein 2020, arXiv:1907.02044. Different: distances are measured in float64, an image with a point inside
    the ball is left alone.
    """
    box = box or Box()
    keys = range(len(x)) if keys is None else keys
    aimed = targets is not None or towards is not None
    if loss not in (allowed := ("difference", "margin", "dlr") if aimed else ("difference",)):
        raise UserError(f"loss is {loss!r}; what fab linearises must be 0 on the boundary: {' or '.join(allowed)}")
    check(x, y, targets, towards, box=box, keys=keys, steps=steps, step_size=None, restarts=restarts, random_start=True)
    with torch.inference_mode(False):
        everyone, best, _ = begin(logits, x, y, targets, towards, loss=loss)
        nearest = torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device)
        for restart in range(restarts if ball.eps > 0 else 0):
            rows = unsettled(everyone, best)
            if len(rows.number) == 0:
                break
            x_adv = rows.x
            if restart:
                names = [keys[row] for row in rows.number.tolist()]
                x_adv = geometry.random_start(rows.x, replace(ball, eps=ball.eps / 2), box, keys=names, restart=restart)
                shrink = (nearest[rows.number] / ball.eps).clamp(max=1.0)
                x_adv = rows.x + column(shrink, x).to(x.dtype) * (x_adv - rows.x)
            _approach(rows, x_adv, best, nearest, ball, box, steps, loss)
    return end(logits, x, y, best, norm=ball.norm, loss=loss, rows=everyone)


def _approach(
    rows: Rows, x_adv: Images, best: Best, nearest: Tensor, ball: Ball, box: Box, steps: int, loss: str
) -> None:
    lower, upper = geometry.box_bounds(box, x_adv.dtype)
    for count in range(1, steps + 1):
        if (left := going_on(rows, best, count)) is not None:
            if len(left) == 0:
                return
            rows, x_adv = rows.select(left), x_adv[left]
        gap, slope, _, refused = nearest_boundary(rows, x_adv, ball.norm, loss)
        at = (slope.double() * x_adv.double()).flatten(1).sum(1) - gap  # <slope, z> = at on the linearised boundary
        here, there = (geometry.onto_hyperplane(point, slope, at, ball.norm, box) for point in (x_adv, rows.x))
        near, far = (geometry.distance(move, ball.norm).clamp(min=1e-8) for move in (here, there))
        pull = column((near / (near + far)).clamp(max=_ALPHA), x_adv)
        moved = (1 - pull) * (x_adv + _ETA * here) + pull * (rows.x + _ETA * there)
        x_adv = moved.to(x_adv.dtype).clamp(lower, upper)
        seen = look(rows, x_adv, loss, gradient=False)
        length = geometry.distance(x_adv.double() - rows.x.double(), ball.norm)
        inside = seen.fooled & (length <= ball.eps)
        refused = torch.maximum(seen.refused, refused)
        # Points outside the ball count for nothing but trouble.
        record(
            best,
            rows,
            torch.where(column(inside, x_adv), x_adv, rows.x),
            replace(seen, fooled=inside, refused=refused, loss=torch.where(inside, seen.loss, -torch.inf)),
            early_stop=True,
        )
        closer = seen.fooled & (length < nearest[rows.number])
        nearest[rows.number] = torch.where(closer, length, nearest[rows.number])
        back = rows.x + _BETA * (x_adv - rows.x)
        x_adv = torch.where(column(seen.fooled, x_adv), back, x_adv)
