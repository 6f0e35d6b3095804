"""Norms, projections, steepest directions and random starts: what an attack knows about its ball and its box.

Everything is per image: rows never see each other. Images are (N, ...) in any shape; the arithmetic is float64, the
result has the images' dtype. Bounds of the box are taken in that dtype.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gambeson import keys as _keys
from gambeson.errors import UserError
from gambeson.types import Ball, Box, Images, Norm

DUAL: dict[Norm, Norm] = {"linf": "l1", "l2": "l2", "l1": "linf"}
_HAIR = 1e-12  # relative: float64 sums over an image round by less, so what is measured later is inside


def distance(delta: Tensor, norm: Norm) -> Tensor:
    """The length of every row of `delta` (N, ...) in `norm`, float64 (N,).

    Subtract in float64 (`x_adv.double() - x.double()`): the difference of two float32 images is itself rounded.

    >>> distance(torch.tensor([[3.0, -4.0]]), "l2")
    tensor([5.], dtype=torch.float64)
    """
    flat = delta.detach().double().flatten(1)
    if norm == "linf":
        return flat.abs().amax(1)
    return torch.linalg.vector_norm(flat, ord=2 if norm == "l2" else 1, dim=1)


class Balls(NamedTuple):
    """A radius for each image, (N,)."""

    norm: Norm
    eps: Tensor


def project(x_adv: Images, x: Images, ball: Ball | Balls, box: Box | None = None) -> Images:
    """The point of ball ∩ box nearest to `x_adv` in the Euclidean sense, exactly.

    argmin_z ||z - x_adv||_2  subject to  ||z - x|| <= eps, lower <= z <= upper. With v = x_adv - x and r_i the room
    between x_i and the face of the box on v_i's side, the answer moves every pixel by min(|v_i|, r_i, eps) in linf, by
    min(t |v_i|, r_i) in l2, by min(max(|v_i| - s, 0), r_i) in l1; t and s solve one monotone piecewise equation, by a
    sort of its breakpoints.

    `x` must lie in the box (else the intersection may be empty). The result lies in the ball when measured in float64
    (pixels are rounded towards `x`) and in the box exactly; pixels that need not move stay bit for bit, so projecting
    twice changes nothing. Clipping to the ball and then to the box, as is common, also ends inside but not at the
    nearest point; in l1 it wastes much of the budget (Croce and Hein 2021, arXiv:2103.01208).

    >>> project(torch.tensor([[1.5, 0.5]]), torch.tensor([[0.5, 0.5]]), Ball("linf", 0.25))
    tensor([[0.7500, 0.5000]])
    """
    lower, upper = box_bounds(box, x.dtype)
    origin = x.detach().double().flatten(1)
    v = x_adv.detach().double().flatten(1) - origin
    length = v.abs()
    room = torch.where(v > 0, upper - origin, origin - lower)
    eps = ball.eps.double().reshape(-1, 1) if isinstance(ball, Balls) else ball.eps  # a number needs no copy to the GPU
    if ball.norm == "linf":
        moved = torch.minimum(length, room).clamp(max=eps)
    else:
        moved = (_shorten_l2 if ball.norm == "l2" else _shorten_l1)(length, room, eps)
    landed = (origin + moved.copysign(v)).to(x.dtype).reshape(x.shape)
    too_far = (landed.double().flatten(1) - origin).abs() > moved
    landed = torch.where(too_far.reshape(x.shape), torch.nextafter(landed, x.detach()), landed)
    untouched = (moved == length).reshape(x.shape)
    return torch.where(untouched, x_adv.detach(), landed).clamp(lower, upper)


def onto(x: Images, ball: Ball, box: Box | None = None) -> Callable[[Images], Images]:
    """`project` on ball ∩ box around `x`, bit for bit, for one batch of points after another: in linf two comparisons.

    >>> onto(torch.tensor([[0.5, 0.5]]), Ball("linf", 0.25))(torch.tensor([[1.5, 0.5]]))
    tensor([[0.7500, 0.5000]])
    """
    if ball.norm != "linf":
        return partial(project, x=x, ball=ball, box=box)
    box = box or Box()
    beyond = box.upper - box.lower + 1
    lowest, highest = project(x - beyond, x, ball, box), project(x + beyond, x, ball, box)
    return lambda x_adv: x_adv.detach().clamp(lowest, highest)


def _shorten_l2(length: Tensor, room: Tensor, eps: Tensor | float) -> Tensor:
    """min(t * length, room) with t in [0, 1] such that its l2 norm is eps (t = 1 where it is already less)."""
    moved = torch.minimum(length, room)
    active = torch.linalg.vector_norm(moved, dim=1, keepdim=True) > eps
    target = eps * (1 - _HAIR)
    # pixel i meets the box at t = room/length; between two such t the squared norm is  full + t^2 * free
    meets, order = torch.where(length > 0, room / length, 1.0).clamp(max=1.0).sort(dim=1)
    squares = room.gather(1, order).square()
    full = squares.cumsum(1) - squares
    free = length.gather(1, order).square().flip(1).cumsum(1).flip(1)
    first = (full + meets.square() * free < target**2).sum(1, keepdim=True).clamp(max=length.shape[1] - 1)
    t = ((target**2 - full.gather(1, first)).clamp(min=0) / free.gather(1, first)).sqrt().clamp(max=1.0)
    return torch.where(active, _at_most(torch.minimum(t * length, room), target, 2), moved)


def _shorten_l1(length: Tensor, room: Tensor, eps: Tensor | float) -> Tensor:
    """min(max(length - s, 0), room) with s >= 0 such that its l1 norm is eps (s = 0 where it is already less)."""
    moved = torch.minimum(length, room)
    active = moved.sum(1, keepdim=True) > eps
    target = eps * (1 - _HAIR)
    # as s falls, pixel i begins to move at s = length and stops at the box at s = length - room
    at, order = torch.cat([length, length - room], 1).sort(dim=1, descending=True)
    moving = torch.where(order < length.shape[1], 1.0, -1.0).to(length).cumsum(1)
    total = torch.zeros_like(at)
    total[:, 1:] = (moving[:, :-1] * (at[:, :-1] - at[:, 1:])).cumsum(1)
    first = (total < target).sum(1, keepdim=True).clamp(1, at.shape[1] - 1)
    s = at.gather(1, first) + (total.gather(1, first) - target) / moving.gather(1, first - 1)
    return torch.where(active, _at_most(torch.minimum((length - s).clamp(min=0), room), target, 1), moved)


def _at_most(moved: Tensor, target: Tensor | float, order: int) -> Tensor:
    """`moved` scaled down where rounding left its norm above `target`."""
    norm = torch.linalg.vector_norm(moved, ord=order, dim=1, keepdim=True)
    return moved * torch.where(norm > target, target / norm, 1.0)


def steepest(grad: Tensor, x: Images, norm: Norm, length: float, box: Box | None = None) -> Tensor:
    """The step of at most `length` in `norm` that increases a linear function with gradient `grad` (N, ...) most.

    linf: length * sign(g).  l2: length * g / ||g||_2.  l1: pixels in the order of |g|, each as far as the box allows,
    until `length` is used up: the exact maximiser over the l1 ball intersected with the box around `x` (Croce and Hein
    2021, arXiv:2103.01208; the box alone keeps it from being one pixel). A zero gradient gives a zero step.

    >>> steepest(torch.tensor([[3.0, -4.0]]), torch.tensor([[0.5, 0.5]]), "l1", 0.75)
    tensor([[ 0.2500, -0.5000]])
    """
    if norm == "linf":
        return length * grad.sign()
    flat = grad.flatten(1)
    if norm == "l2":
        largest = flat.abs().amax(1, keepdim=True)
        flat = flat / torch.where(largest > 0, largest, 1.0)  # squares of a small gradient would vanish
        norms = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
        return (length * flat / torch.where(norms > 0, norms, 1.0)).reshape(grad.shape)
    room = room_along(grad, x, box).flatten(1)
    order = torch.where(room > 0, flat.abs(), -1.0).argsort(dim=1, descending=True)
    rooms = room.gather(1, order).double()
    moved = torch.minimum((length - (rooms.cumsum(1) - rooms)).clamp(min=0), rooms).to(flat.dtype)
    return (torch.zeros_like(flat).scatter(1, order, moved) * flat.sign()).reshape(grad.shape)


def onto_hyperplane(x: Images, w: Tensor, level: Tensor, norm: Norm, box: Box | None = None) -> Tensor:
    """The shortest move d (N, ...), float64, in `norm` from every image onto the hyperplane <w, z> = level in the box.

    argmin ||d||  subject to  <w, x + d> = level, lower <= x + d <= upper. All pixels go along sign(w) or all against
    it, r_i being the room that the box leaves: by min(t, r_i) in linf, by min(t |w_i|, r_i) in l2, and in l1 by r_i in
    the order of |w_i| until the hyperplane is reached; t solves a monotone piecewise linear equation, by a sort of its
    breakpoints. Where the box does not reach the hyperplane, d goes to its nearest corner; w = 0 gives d = 0.

    >>> onto_hyperplane(torch.tensor([[0.5, 0.75]]), torch.tensor([[1.0, 1.0]]), torch.tensor([2.0]), "linf")
    tensor([[0.5000, 0.2500]], dtype=torch.float64)
    """
    lower, upper = box_bounds(box, x.dtype)
    origin, weight = x.detach().double().flatten(1), w.detach().double().flatten(1)
    missing = level.detach().double()[:, None] - (weight * origin).sum(1, keepdim=True)
    along, size, missing = weight * missing.sign(), weight.abs(), missing.abs()
    room = torch.where(along == 0, 0.0, torch.where(along > 0, upper - origin, origin - lower)).clamp(min=0)
    if norm == "l1":
        order = torch.where(room > 0, size, -1.0).argsort(dim=1, descending=True)
        rooms, sizes = room.gather(1, order), size.gather(1, order)
        before = (sizes * rooms).cumsum(1) - sizes * rooms
        moved = torch.minimum((missing - before).clamp(min=0) / torch.where(sizes > 0, sizes, 1.0), rooms)
        return (torch.zeros_like(room).scatter(1, order, moved) * along.sign()).reshape(x.shape)
    speed = torch.ones_like(size) if norm == "linf" else size
    meets, order = torch.where(speed > 0, room / speed, 0.0).sort(dim=1)
    gains, free = (size * room).gather(1, order), (size * speed).gather(1, order).flip(1).cumsum(1).flip(1)
    full = gains.cumsum(1) - gains
    first = (full + meets * free < missing).sum(1, keepdim=True).clamp(max=size.shape[1] - 1)
    left = free.gather(1, first)
    t = torch.where(left > 0, (missing - full.gather(1, first)) / torch.where(left > 0, left, 1.0), 0.0)
    t = torch.maximum(t, torch.where(left > 0, 0.0, meets.gather(1, first)))
    return (torch.minimum(t * speed, room) * along.sign()).reshape(x.shape)


def room_along(direction: Tensor, x: Images, box: Box | None = None) -> Tensor:
    """How far every pixel of `x` can go in the direction's sign before it meets the box; 0 where the direction is 0.

    >>> room_along(torch.tensor([[1.0, -1.0]]), torch.tensor([[0.75, 0.0]]))
    tensor([[0.2500, 0.0000]])
    """
    lower, upper = box_bounds(box, x.dtype)
    ahead = torch.where(direction > 0, upper - x, x - lower)
    return torch.where(direction == 0, 0.0, ahead).clamp(min=0)


def random_start(x: Images, ball: Ball, box: Box | None = None, *, keys: Sequence[int], restart: int = 0) -> Images:
    """A point drawn uniformly from the ball around every image, then projected on ball ∩ box.

    Image i uses `gambeson.keys.generator(keys[i], "start", restart)` and nothing else: neither the batch split nor the
    device nor any global generator matters. l2: a Gaussian direction times U^(1/D). l1: D of D + 1 exponentials over
    their sum, with random signs.
    """
    if len(keys) != len(x):
        raise UserError(f"keys has {len(keys)} entries for {len(x)} images; give one integer per image")
    return drawn([_keys.generator(int(image_key), "start", restart) for image_key in keys], x, ball, box)


def drawn(generators: Sequence[np.random.Generator], x: Images, ball: Ball, box: Box | None = None) -> Images:
    """The next uniform point of the ball around every image, projected on ball ∩ box; one generator per image."""
    size = x[0].numel() if len(x) else 0
    points = np.empty((len(x), size))
    for point, draw in zip(points, generators, strict=True):
        if ball.norm == "linf":
            draw.random(out=point)
        elif ball.norm == "l2":
            draw.standard_normal(out=point)
            point *= draw.random() ** (1 / size) / (point**2).sum() ** 0.5
        else:
            exponential = draw.standard_exponential(size + 1)
            point[:] = exponential[:-1] / exponential.sum() * (1 - 2 * draw.integers(0, 2, size))
    if ball.norm == "linf":
        points = 2 * points - 1
    offset = torch.from_numpy(ball.eps * points).reshape(x.shape).to(x.device)
    return project((x.detach().double() + offset).to(x.dtype), x, ball, box)


def anywhere(x: Images, ball: Ball, generator: torch.Generator, box: Box | None = None) -> Images:
    """As `random_start`, all images at once from one generator on x's device: another draw for another batch."""
    like: dict[str, Any] = {"generator": generator, "device": x.device, "dtype": x.dtype}
    if ball.norm == "linf":
        offset = 2 * torch.rand(x.shape, **like) - 1
    elif ball.norm == "l2":
        direction = torch.randn(x.shape, **like)
        length = torch.rand(len(x), **like) ** (1 / x[0].numel())
        offset = steepest(direction, x, "l2", 1.0) * length.reshape(-1, *[1] * (x.dim() - 1))
    else:
        exponential = -torch.log1p(-torch.rand((len(x), x[0].numel() + 1), **like))
        shares = exponential[:, :-1] / exponential.sum(1, keepdim=True)
        offset = shares.reshape(x.shape) * (2 * torch.randint(2, x.shape, generator=generator, device=x.device) - 1)
    return project(x.detach() + ball.eps * offset, x, ball, box)


def box_bounds(box: Box | None, dtype: torch.dtype) -> tuple[float, float]:
    """The ends of the box (None: [0, 1]) as images of `dtype` can hold them."""
    box = box or Box()
    return float(torch.tensor(box.lower, dtype=dtype)), float(torch.tensor(box.upper, dtype=dtype))
