"""Norms, projections, steepest directions and random starts: what an attack knows about its ball and its box.

Everything is per image: rows never see each other. Images are (N, ...) in any shape; the arithmetic is float64, the
result has the images' dtype. Bounds of the box are taken in that dtype.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gambeson import keys as _keys
from gambeson.errors import UserError
from gambeson.types import Ball, Box, Images, Norm

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


def project(x_adv: Images, x: Images, ball: Ball, box: Box | None = None) -> Images:
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
    if ball.norm == "linf":
        moved = torch.minimum(length, room).clamp(max=ball.eps)
    else:
        moved = (_shorten_l2 if ball.norm == "l2" else _shorten_l1)(length, room, ball.eps)
    landed = (origin + moved.copysign(v)).to(x.dtype).reshape(x.shape)
    too_far = (landed.double().flatten(1) - origin).abs() > moved
    landed = torch.where(too_far.reshape(x.shape), torch.nextafter(landed, x.detach()), landed)
    untouched = (moved == length).reshape(x.shape)
    return torch.where(untouched, x_adv.detach(), landed).clamp(lower, upper)


def _shorten_l2(length: Tensor, room: Tensor, eps: float) -> Tensor:
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


def _shorten_l1(length: Tensor, room: Tensor, eps: float) -> Tensor:
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


def _at_most(moved: Tensor, target: float, order: int) -> Tensor:
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
    size = x[0].numel() if len(x) else 0
    starts = torch.zeros(len(x), size, dtype=torch.float64)
    for row, image_key in enumerate(keys):
        draw = _keys.generator(int(image_key), "start", restart)
        if ball.norm == "linf":
            point = draw.uniform(-1.0, 1.0, size)
        elif ball.norm == "l2":
            gaussian = draw.standard_normal(size)
            point = gaussian * (draw.random() ** (1 / size) / (gaussian**2).sum() ** 0.5)
        else:
            exponential = draw.standard_exponential(size + 1)
            point = exponential[:-1] / exponential.sum() * (1 - 2 * draw.integers(0, 2, size))
        starts[row] = torch.from_numpy(point)
    offset = (ball.eps * starts).reshape(x.shape).to(x.device)
    return project((x.detach().double() + offset).to(x.dtype), x, ball, box)


def box_bounds(box: Box | None, dtype: torch.dtype) -> tuple[float, float]:
    """The ends of the box (None: [0, 1]) as images of `dtype` can hold them."""
    box = box or Box()
    return float(torch.tensor(box.lower, dtype=dtype)), float(torch.tensor(box.upper, dtype=dtype))
