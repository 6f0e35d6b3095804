"""Square: random search with squares of pixels, by scores alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import torch
from torch import Tensor

from gambeson import geometry
from gambeson.attacks.arguments import check_aims, check_some
from gambeson.attacks.result import Result
from gambeson.attacks.search import Best, Rows, begin, column, end, going_on, look, record, unsettled
from gambeson.attacks.uniforms import Uniforms
from gambeson.errors import UserError
from gambeson.geometry import distance
from gambeson.types import Ball, Box, Classifier, Images, Labels, Norm

_HALVED_AFTER = (10, 50, 200, 500, 1_000, 2_000, 4_000, 6_000, 8_000)  # queries: the share of pixels, as published
_TINY = 1e-12


def square(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    ball: Ball,
    queries: int = 5_000,
    share: float = 0.8,
    loss: str = "margin",
    restarts: int = 1,
    early_stop: bool = True,
    targets: Labels | None = None,
    towards: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """Random search for a larger `loss`: no gradient is asked for, so that masked ones hide nothing.

    linf: begins with vertical stripes x +- eps; each query sets one square to x +- eps, a sign per channel. l2, l1:
    begins with a tiling of small hills; each query moves the length that two windows hold into one of them, as a pair
    of hills of either sign. A change stays where the loss is larger. The square holds the share of the pixels 0.8 at
    first, halved after 10, 50, 200, 500, 1,000, 2,000, 4,000, 6,000 and 8,000 queries.

    queries  calls of the classifier in every restart, >= 1. share: > 0, <= 1. loss, early_stop, targets, towards, box,
             keys: as in `pgd`.
    x        images (N, C, H, W); others are taken for one row of pixels.

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> square(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0]), ball=Ball("linf", 0.2), queries=50).success
    tensor([True])

    Andriushchenko et al. 2020, arXiv:1912.00049; l1 as in AutoAttack. Different: every image draws its own squares,
    which may touch the last row and column too.
    """
    box = box or Box()
    keys = range(len(x)) if keys is None else keys
    check_some(x, y, box=box, keys=keys, queries=queries, restarts=restarts)
    check_aims(x, y, targets, towards)
    if not 0 < share <= 1:
        raise UserError(f"share is {share}; it must be > 0 and <= 1")
    with torch.inference_mode(False), torch.no_grad():
        everyone, best, _ = begin(logits, x, y, targets, towards, loss=loss, early_stop=early_stop)
        for restart in range(restarts if ball.eps > 0 else 0):
            rows = unsettled(everyone, best)
            if len(rows.number) == 0:
                break
            names = [keys[row] for row in rows.number.tolist()]
            _search(rows, best, _Plan(ball, box, queries, share, loss, early_stop), names, restart)
    return end(logits, x, y, best, norm=ball.norm, loss=loss, rows=everyone)


@dataclass(frozen=True)
class _Plan:
    ball: Ball
    box: Box
    queries: int
    share: float
    loss: str
    early_stop: bool


def _search(rows: Rows, best: Best, plan: _Plan, keys: Sequence[int], restart: int) -> None:
    channels, height, width = _shape(rows.x)
    propose: Callable[..., Images] = _squares if plan.ball.norm == "linf" else _hills
    draw = Uniforms(keys, "square", restart, 5 + channels, rows.x.device)
    places = torch.arange(len(rows.x), device=rows.x.device)
    x_adv = _start(rows.x, plan, keys, restart)
    seen = look(rows, x_adv, plan.loss, gradient=False)
    record(best, rows, x_adv, seen, plan.early_stop)
    value = seen.loss
    for query in range(plan.queries - 1):
        if (left := going_on(rows, best, query + 1)) is not None:
            if len(left) == 0:
                return
            rows, places, x_adv, value = rows.select(left), places[left], x_adv[left], value[left]
        part = plan.share / 2 ** sum(query > after for after in _HALVED_AFTER)
        tried = propose(rows.x, x_adv, round(sqrt(part * height * width)), draw(places), plan)
        seen = look(rows, tried, plan.loss, gradient=False)
        record(best, rows, tried, seen, plan.early_stop)
        better = seen.loss > value
        value, x_adv = torch.where(better, seen.loss, value), torch.where(column(better, tried), tried, x_adv)


def _shape(x: Images) -> tuple[int, int, int]:
    return (x.shape[1], x.shape[2], x.shape[3]) if x.dim() == 4 else (1, 1, x[0].numel())


def _start(x: Images, plan: _Plan, keys: Sequence[int], restart: int) -> Images:
    channels, height, width = _shape(x)
    ball, every = plan.ball, torch.arange(len(x), device=x.device)
    if ball.norm == "linf":
        stripes = Uniforms(keys, "stripes", restart, channels * width, x.device)(every)
        delta = ball.eps * _sign(stripes).reshape(len(x), channels, 1, width).expand(-1, -1, height, -1)
    else:
        side = max(min(height, width) // 5, 1)
        down, across = height // side, width // side
        signs = _sign(Uniforms(keys, "tiles", restart, channels * down * across, x.device)(every))
        signs = signs.reshape(len(x), channels, down, across).repeat_interleave(side, 2).repeat_interleave(side, 3)
        tiled = signs * _hill(side, ball.norm, x.device).repeat(down, across)
        delta = tiled.new_zeros(len(x), channels, height, width)
        top, left = (height - tiled.shape[2]) // 2, (width - tiled.shape[3]) // 2
        delta[:, :, top : top + tiled.shape[2], left : left + tiled.shape[3]] = tiled
    return _landed(x, delta, plan)


def _squares(x: Images, x_adv: Images, side: int, uniform: Tensor, plan: _Plan) -> Images:
    """x_adv with one square of x +- eps."""
    channels, height, width = _shape(x)
    side = min(max(side, 1), height, width)
    top, left = (uniform[:, 0] * (height - side + 1)).long(), (uniform[:, 1] * (width - side + 1)).long()
    row, across = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    down = (row >= top[:, None]) & (row < top[:, None] + side)
    inside = down[:, None, :, None] & ((across >= left[:, None]) & (across < left[:, None] + side))[:, None, None]
    delta = (x_adv.double() - x.double()).reshape(-1, channels, height, width)
    return _landed(x, torch.where(inside, plan.ball.eps * _sign(uniform[:, 5:])[:, :, None, None], delta), plan)


def _hills(x: Images, x_adv: Images, side: int, uniform: Tensor, plan: _Plan) -> Images:
    """x_adv with the length of two windows in one of them, added to what was there, in every channel."""
    channels, height, width = _shape(x)
    norm, eps = plan.ball.norm, plan.ball.eps
    side = min(max(side + (side % 2 == 0), 3 if min(height, width) > 8 else 1), height, width)
    room = height - side + 1, width - side + 1
    top, left, top_2, left_2 = ((uniform[:, place] * room[place % 2]).long() for place in range(4))
    delta = (x_adv.double() - x.double()).reshape(-1, channels, height, width)
    first, second = _window(delta, top, left, side), _window(delta, top_2, left_2, side)
    both = torch.zeros_like(delta)
    both[second] = delta[second]
    both[first] = delta[first]
    hill = _hill(side, norm, x.device)
    turned = (
        torch.where(uniform[:, 4, None, None] > 0.5, hill.T, hill)[:, None] * _sign(uniform[:, 5:])[:, :, None, None]
    )
    new = turned + delta[first] / (_length(delta[first], norm) + _TINY)
    whole = column(distance(delta, norm), delta)
    if norm == "l2":
        budget = ((eps**2 - whole**2).clamp(min=0) / channels + _length(both, norm) ** 2).sqrt()
    else:
        budget = (eps - whole).clamp(min=0) + channels * _length(both, norm)
    delta[second] = 0.0
    delta[first] = new / (_length(new, norm) + _TINY) * budget
    return _landed(x, delta, plan)


def _landed(x: Images, delta: Tensor, plan: _Plan) -> Images:
    """x + delta, in l2 of length eps, in the ball and the box."""
    if plan.ball.norm == "l2":
        delta = delta * column(plan.ball.eps / (distance(delta, "l2") + _TINY), delta)
    return geometry.project((x.double() + delta.reshape(x.shape)).to(x.dtype), x, plan.ball, plan.box)


def _sign(uniform: Tensor) -> Tensor:
    return 1.0 - 2.0 * (uniform < 0.5)


def _length(windows: Tensor, norm: Norm) -> Tensor:
    """Of every channel (n, C, 1, 1)."""
    return torch.linalg.vector_norm(windows, ord=2 if norm == "l2" else 1, dim=(2, 3), keepdim=True)


def _window(delta: Tensor, top: Tensor, left: Tensor, side: int) -> tuple[Tensor, ...]:
    """The index of a window of each image (n, C, side, side)."""
    step, n, channels = torch.arange(side, device=delta.device), len(delta), delta.shape[1]
    rows = torch.arange(n, device=delta.device)[:, None, None, None]
    each = torch.arange(channels, device=delta.device)[None, :, None, None]
    return rows, each, (top[:, None] + step)[:, None, :, None], (left[:, None] + step)[:, None, None, :]


@lru_cache(maxsize=64)
def _hill(side: int, norm: Norm, device: torch.device) -> Tensor:
    """Two neighbouring hills of opposite sign, float64 (side, side), of length 1."""
    if side < 2:
        return torch.ones(side, side, dtype=torch.float64, device=device)
    upper, lower = _pyramid(side // 2, side, norm), _pyramid(side - side // 2, side, norm)
    pair = torch.cat([upper, -lower])
    return (pair / torch.linalg.vector_norm(pair, ord=2 if norm == "l2" else 1)).to(device)


def _pyramid(height: int, width: int, norm: Norm) -> Tensor:
    """Rectangles around the middle, the k-th worth 1 / k^2 (l1: 1 / k^4), of length 1."""
    hill, power = torch.zeros(height, width, dtype=torch.float64), 2 if norm == "l2" else 4
    top, left = height // 2, width // 2
    for k in range(max(height // 2 + 1, width // 2 + 1)):
        hill[max(top - k, 0) : top + k + 1, max(left - k, 0) : left + k + 1] += 1 / (k + 1) ** power
    return hill / torch.linalg.vector_norm(hill, ord=2 if norm == "l2" else 1)
