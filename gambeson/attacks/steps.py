"""How a gradient becomes a step: sign, normalised, momentum, adam."""

import math

import torch
from torch import Tensor

from gambeson.attacks.adam import adam
from gambeson.attacks.search import column
from gambeson.errors import UserError
from gambeson.geometry import room_along, steepest
from gambeson.types import Box, Images, Norm

STEP_RULES: dict[str, dict[str, float]] = {
    "sign": {}, "normalised": {}, "momentum": {"decay": 1.0}, "adam": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
}  # fmt: skip
State = tuple[Tensor, ...]  # what a rule remembers, one row per image


def usual_rule(norm: Norm) -> str:
    """Steepest ascent in `norm`."""
    return "sign" if norm == "linf" else "normalised"


def step(
    rule: str, grad: Tensor, state: State, count: int, *, x: Images, norm: Norm, length: float, box: Box
) -> tuple[Tensor, State]:
    """The step (N, ...) that `rule` takes from `grad`, at most `length` long in `norm`, and what the rule remembers.

    sign        linf: length * sign(g); l2: sign(g) scaled to that l2 length; l1: the signs of the 1 % of pixels with
                the largest |g| that the box lets move, scaled to that l1 length (SLIDE, Tramer and Boneh 2019,
                arXiv:1904.13000).
    normalised  length times: linf: g / max|g|; l2: g / ||g||_2; l1: the exact maximiser `geometry.steepest`, the pixels
                in the order of |g|, each up to the box.
    momentum    a <- a + g / ||g||_1 (Dong et al. 2018, arXiv:1710.06081, decay 1), then `geometry.steepest` along a.
    adam        Adam (0.9, 0.999, 1e-8; Kingma and Ba 2015, arXiv:1412.6980) on g / max|g|, ascending; its step, about 1
                in every pixel, times `length` in linf, length / sqrt(D) in l2 and length / D in l1: steady gradients
                give a step of that length, oscillating ones less.

    A zero gradient gives no step (momentum and adam: what they remember). `state` is () before the first step, `count`
    is 1 at it.
    """
    if rule == "sign":
        return _sign(grad, x, norm, length, box), ()
    if rule == "normalised":
        return (length * _by_largest(grad) if norm == "linf" else steepest(grad, x, norm, length, box)), ()
    if rule == "momentum":
        scaled = _by_largest(grad)
        total = scaled.flatten(1).abs().sum(1)
        scaled = scaled / column(torch.where(total > 0, total, 1.0), grad)
        summed = state[0] + scaled if state else scaled
        return steepest(summed, x, norm, length, box), (summed,)
    if rule == "adam":
        unit, state = adam(_by_largest(grad), state, count)
        pixels = grad[0].numel()
        return length * unit / {"linf": 1, "l2": math.sqrt(pixels), "l1": pixels}[norm], state
    raise UserError(f"step_rule is {rule!r}; it must be one of {', '.join(STEP_RULES)}")


def _sign(grad: Tensor, x: Images, norm: Norm, length: float, box: Box) -> Tensor:
    if norm != "l1":
        return steepest(grad if norm == "linf" else grad.sign(), x, norm, length, box)
    size = torch.where(room_along(grad, x, box) > 0, grad.abs(), 0.0).flatten(1)
    threshold = size.topk(math.ceil(0.01 * size.shape[1]), dim=1).values[:, -1:]
    chosen = (size >= threshold) & (size > 0)
    return length * grad.sign() * (chosen / chosen.sum(1, keepdim=True).clamp(min=1)).reshape(grad.shape).to(grad.dtype)


def _by_largest(grad: Tensor) -> Tensor:
    """g / max|g|: saturated losses have gradients of 1e-30, whose squares vanish in float32."""
    largest = grad.flatten(1).abs().amax(1)
    return grad / column(torch.where(largest > 0, largest, 1.0), grad)
