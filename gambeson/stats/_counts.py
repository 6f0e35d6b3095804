"""What a statistical function accepts: whole counts k of n, and a failure probability alpha."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UserError

MOST_DRAWS = 10**9
Floats = NDArray[np.float64]


def _numbers(name: str, value: Any, allowed: str) -> Floats:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{name} = {value!r} is not a number; allowed: {allowed}") from None


def refuse(name: str, values: Floats, bad: NDArray[np.bool_], allowed: str) -> None:
    """Raise a UserError that shows the first of `values` where `bad`."""
    if np.any(bad):
        first = np.broadcast_to(values, bad.shape)[bad].flat[0]
        raise UserError(f"{name} = {float(first)!r} is out of range; allowed: {allowed}")


def whole(name: str, value: ArrayLike, least: int, most: int) -> Floats:
    """`value` as float64 whole numbers in [least, most], or a UserError."""
    allowed = f"a whole number from {least} to {most}"
    x = _numbers(name, value, allowed)
    refuse(name, x, ~((x >= least) & (x <= most) & (x == np.floor(x))), allowed)
    return x


def fraction(name: str, value: ArrayLike) -> Floats:
    """`value` as float64 probabilities in the open interval (0, 1), or a UserError."""
    allowed = "a probability with 0 < " + name + " < 1, such as 0.001"
    x = _numbers(name, value, allowed)
    refuse(name, x, ~((x > 0) & (x < 1)), allowed)
    return x


def successes(k: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    """k and n broadcast together with 0 <= k <= n, 1 <= n <= 10^9, or a UserError."""
    total = whole("n", n, 1, MOST_DRAWS)
    hits, total = np.broadcast_arrays(whole("k", k, 0, MOST_DRAWS), total)
    refuse("k", hits, hits > total, "a whole number from 0 to n (k counts some of the n draws)")
    return hits, total
