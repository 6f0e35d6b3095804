"""SPSA: gradient steps whose gradient is estimated from scores."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gambeson import geometry
from gambeson import keys as _keys
from gambeson.attacks.arguments import check, check_some
from gambeson.attacks.objectives import objective
from gambeson.attacks.result import Result
from gambeson.attacks.search import Best, Rows, begin, end, going_on, look, record, unsettled
from gambeson.attacks.steps import State, step
from gambeson.errors import UserError
from gambeson.types import Ball, Box, Classifier, Images, Labels, Norm

_DRAWN = 32  # directions that are drawn at a time, whatever goes through the classifier in one call


def spsa(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    ball: Ball,
    steps: int = 100,
    step_size: float | None = None,
    step_rule: str | None = None,
    samples: int = 2_048,
    delta: float = 0.01,
    chunk: int = 4_096,
    loss: str = "margin",
    restarts: int = 1,
    early_stop: bool = True,
    targets: Labels | None = None,
    towards: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """Projected ascent along a gradient that is estimated from differences of the loss.

        g = mean over j of (L(x + delta v_j) - L(x - delta v_j)) / (2 delta) v_j,   v_j in {-1, 1}^D

    samples     evaluations of the loss for one gradient, even, >= 2: half as many directions, both ways.
    chunk       points that go through the classifier in one call at most, of all images.
    delta       > 0, in pixel units; these points may leave the box.
    step_rule   as in `pgd`; None: "adam", in l1, where its steps go to all pixels, "normalised".
    steps, step_size, loss, restarts, early_stop, targets, towards, box, keys: as in `pgd`; step_size None:
    2.5 eps / steps. Calls the classifier on 2 + restarts * ((samples + 1) * steps + 1) points for an image that holds
    out. A classifier with state per image (`.select`) gets its rows repeated.

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> spsa(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0]), ball=Ball("linf", 0.2), samples=8).success
    tensor([True])

    Spall 1992; Uesato et al. 2018, arXiv:1802.05666.
    """
    box = box or Box()
    keys = range(len(x)) if keys is None else keys
    check(
        x, y, targets, towards, box=box, keys=keys, steps=steps, step_size=step_size, restarts=restarts,
        random_start=True,
    )  # fmt: skip
    check_some(x, y, box=box, keys=keys, chunk=chunk)
    if samples < 2 or samples % 2:
        raise UserError(f"samples is {samples}; it must be even and at least 2")
    if not delta > 0:
        raise UserError(f"delta is {delta}; it must be > 0, in pixel units")
    length = 2.5 * ball.eps / steps if step_size is None else step_size
    rule = step_rule or own_rule(ball.norm)
    with torch.inference_mode(False), torch.no_grad():
        everyone, best, _ = begin(logits, x, y, targets, towards, loss=loss, early_stop=early_stop)
        for restart in range(restarts if ball.eps > 0 else 0):
            rows = unsettled(everyone, best)
            if len(rows.number) == 0:
                break
            names = [keys[row] for row in rows.number.tolist()]
            generators = [_keys.generator(int(name), "spsa", restart) for name in names]
            x_adv = geometry.random_start(rows.x, ball, box, keys=names, restart=restart)
            state: State = ()
            for count in range(1, steps + 1):
                seen = look(rows, x_adv, loss, gradient=False)
                record(best, rows, x_adv, seen, early_stop)
                if (left := going_on(rows, best, count)) is not None:
                    if len(left) == 0:
                        break
                    rows, x_adv, state = rows.select(left), x_adv[left], tuple(kept[left] for kept in state)
                    generators = [generators[place] for place in left.tolist()]
                grad = _estimate(rows, x_adv, generators, samples // 2, delta, chunk, loss, best)
                move, state = step(rule, grad, state, count, x=x_adv, norm=ball.norm, length=length, box=box)
                x_adv = geometry.project(x_adv + move, rows.x, ball, box)
            else:
                record(best, rows, x_adv, look(rows, x_adv, loss, gradient=False), early_stop)
    return end(logits, x, y, best, norm=ball.norm, loss=loss, rows=everyone)


def own_rule(norm: Norm) -> str:
    """The step rule that is usual in a norm."""
    return "normalised" if norm == "l1" else "adam"


def _estimate(
    rows: Rows, x_adv: Images, generators: Sequence[np.random.Generator], pairs: int, delta: float, chunk: int,
    loss: str, best: Best,
) -> Tensor:  # fmt: skip
    grad, size = torch.zeros_like(x_adv), x_adv[0].numel()
    blocks = [min(_DRAWN, pairs - first) for first in range(0, pairs, _DRAWN)]
    together = max(1, chunk // (_DRAWN * len(x_adv)))
    for first in range(0, len(blocks), together):
        signs = np.stack([_signs(draw, blocks[first : first + together], size) for draw in generators])
        v = torch.from_numpy(signs).to(x_adv).reshape(len(x_adv), -1, *x_adv.shape[1:])
        ahead, behind = (_losses(rows, x_adv[:, None] + way * delta * v, loss, best, chunk) for way in (1, -1))
        slope = ((ahead - behind) / (2 * delta))[(...,) + (None,) * (x_adv.dim() - 1)]
        grad += (slope * v).sum(1).to(grad.dtype) / pairs
    return grad


def _signs(draw: np.random.Generator, blocks: Sequence[int], size: int) -> NDArray[np.int8]:
    drawn = [draw.integers(0, 2, (number, size), dtype=np.int8) for number in blocks]
    return 2 * np.concatenate(drawn) - 1


def _losses(rows: Rows, around: Tensor, loss: str, best: Best, chunk: int) -> Tensor:
    """Of points (n, m, ...): (n, m)."""
    n, m = around.shape[:2]
    owners, values = torch.arange(n, device=around.device).repeat_interleave(m), []
    for points, owner in zip(around.flatten(0, 1).split(chunk), owners.split(chunk), strict=True):
        some = rows.select(owner)
        values.append(objective(loss, some.logits(points), some.y, some.aims))
    value = torch.cat(values).reshape(n, m)
    finite = value.isfinite().all(1)
    best.refused[rows.number] = torch.where(finite, best.refused[rows.number], 1).to(best.refused.dtype)
    return value.nan_to_num(0.0, 0.0, 0.0)
