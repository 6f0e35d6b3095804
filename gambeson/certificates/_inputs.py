"""What every certificate does before and after its formula: check, broadcast, clip, round down."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UserError

Floats = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)


class Inputs(NamedTuple):
    """1-D arrays of one length. Where nothing is certified (not `ahead`) or p_lower = 1 (`certain`), `top` and `other`
    hold 3/4 and 1/4, so that a formula never meets them; `rounded_down` puts the answer there."""

    top: Floats
    other: Floats
    scale: Floats
    ahead: NDArray[np.bool_]
    certain: NDArray[np.bool_]
    shape: tuple[int, ...]


def numbers(name: str, value: ArrayLike, allowed: str) -> Floats:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{name} = {value!r} is not a number; allowed: {allowed}") from None


def check(name: str, value: Floats, good: NDArray[np.bool_], allowed: str) -> None:
    if not np.all(good):
        raise UserError(f"{name} = {float(value[~good].flat[0])!r} is out of range; allowed: {allowed}")


def _probability(name: str, value: ArrayLike) -> Floats:
    allowed = "a probability from 0 to 1"
    p = numbers(name, value, allowed)
    check(name, p, (p >= 0) & (p <= 1), allowed)
    return p


def inputs(p_lower: ArrayLike, p_upper: ArrayLike | None, scale: ArrayLike | None, scale_name: str) -> Inputs:
    """Checked and flattened; p_upper = min(p_upper, 1 - p_lower), and 1 - p_lower where None."""
    top = _probability("p_lower", p_lower)
    other = np.ones(()) if p_upper is None else _probability("p_upper", p_upper)
    allowed = "a finite number > 0, in pixel units of [0, 1]"
    if scale is None:
        raise UserError(f"{scale_name} is missing; allowed: {allowed}")
    size = numbers(scale_name, scale, allowed)
    check(scale_name, size, np.isfinite(size) & (size > 0), allowed)
    try:
        top, other, size = np.broadcast_arrays(top, other, size)
    except ValueError:
        raise UserError(
            f"p_lower, p_upper and {scale_name} have shapes {top.shape}, {other.shape}, {size.shape}; "
            "allowed: shapes that broadcast together"
        ) from None
    # 1 - top is exact for top >= 1/2; below that it is above top, so what is clipped to it certifies nothing.
    other = np.minimum(other, 1 - top)
    ahead, certain = top > other, top == 1
    usual = ahead & ~certain
    top, other = np.where(usual, top, 0.75), np.where(usual, other, 0.25)
    return Inputs(top.ravel(), other.ravel(), size.ravel(), ahead.ravel(), certain.ravel(), size.shape)


def rounded_down(unit_radius: Floats, given: Inputs, relative: float, certain: float = np.inf) -> float | Floats:
    """scale x unit_radius (1 - relative); `certain` where p_lower = 1, 0 where the top class is not ahead."""
    unit = np.where(given.certain, certain, np.maximum(unit_radius, 0.0))
    radius = given.scale * np.where(given.ahead, unit * (1 - relative), 0.0)
    return float(radius[0]) if given.shape == () else radius.reshape(given.shape)


def log_ratio(top: Floats, other: Floats) -> Floats:
    """log(top / other), top > other, without cancellation or overflow; inf where other = 0."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        near = np.log1p((top - other) / other)
        ratio = top / other
        far = np.where(np.isfinite(ratio), np.log(ratio), np.log(top) - np.log(other))
    return np.where(top - other < other, near, far)
