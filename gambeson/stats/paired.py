"""Two accuracies on the same images: their difference, its interval, and the exact McNemar test."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ..errors import UserError
from ._counts import MOST_DRAWS, fraction, whole


@dataclass(frozen=True)
class Paired:
    """Accuracy of a minus accuracy of b on n shared images; Tango's score interval; exact two-sided McNemar p."""

    n: int
    only_a: int
    only_b: int
    difference: float
    lower: float
    upper: float
    alpha: float
    p_value: float


def _score(only_a: int, only_b: int, n: int, difference: float) -> float:
    """Tango's statistic: (observed - assumed difference) over its standard error under the assumed one."""
    room = difference * (1 - difference)
    half = (2 * n - only_a + only_b) * difference - only_a - only_b
    q = (math.sqrt(max(half * half + 8 * n * only_b * room, 0.0)) - half) / (4 * n)  # constrained estimate of P(only b)
    gap = only_a - only_b - n * difference
    spread = math.sqrt(max(n * (2 * q + room), 0.0))
    if spread == 0.0:
        return 0.0 if gap == 0 else math.copysign(math.inf, gap)
    return gap / spread


def _bisect(keeps: Callable[[float], bool], inner: float, outer: float) -> float:
    """The interval's end between `inner`, which belongs to it, and `outer`, rounded outward."""
    if keeps(outer):
        return outer
    for _ in range(60):
        middle = (inner + outer) / 2
        if keeps(middle):
            inner = middle
        else:
            outer = middle
    return outer


def _mcnemar(only_a: int, only_b: int) -> float:
    """Chance of a split at least as uneven as this one if each disagreement were a fair coin."""
    discordant, fewer = only_a + only_b, min(only_a, only_b)
    return 1.0 if only_a == only_b else min(1.0, 2 * float(special.bdtr(fewer, discordant, 0.5)))


def paired(a: ArrayLike, b: ArrayLike, alpha: float = 0.05) -> Paired:
    """Compare two classifiers (or methods, or bounds) image by image on the same images.

        difference = (only_a - only_b) / n,   interval: every d with |T(d)| <= z_{1-alpha/2},
        T(d) = (only_a - only_b - n d) / sqrt(n (2 q(d) + d (1 - d)))

    q(d) is the maximum-likelihood share of only_b given the difference d. This is Tango's score interval, asymptotic:
    its coverage is near 1 - alpha, not guaranteed. The p-value is the exact McNemar test (binomial on the discordant
    images), so near alpha the two can disagree about zero.

    Args:
        a, b: right (1 / True) or not (0 / False) on each image, the same images in the same order, shape (n,), n >= 1.
            An abstention is not right.
        alpha: failure probability in (0, 1).

    Returns: Paired. Raises: UserError.

    >>> result = paired([1] * 90 + [0] * 10, [1] * 80 + [0] * 15 + [1] * 5)
    >>> round(result.difference, 3), round(result.lower, 3), round(result.upper, 3), round(result.p_value, 3)
    (0.05, -0.029, 0.133, 0.302)

    Paper: Tango, Statistics in Medicine 17 (1998) 891; McNemar, Psychometrika 12 (1947) 153.
    """
    left, right = whole("a", a, 0, 1), whole("b", b, 0, 1)
    if left.ndim != 1 or left.shape != right.shape or not 1 <= left.size <= MOST_DRAWS:
        raise UserError(
            f"a and b have shapes {left.shape} and {right.shape}; allowed: both (n,) with n >= 1. "
            "Compare runs on the images they share, in the same order"
        )
    level = float(fraction("alpha", alpha)[()])
    n, only_a, only_b = left.size, int(np.sum(left > right)), int(np.sum(left < right))
    z = -float(special.ndtri(level / 2))
    difference = (only_a - only_b) / n

    def keeps(d: float) -> bool:
        return abs(_score(only_a, only_b, n, d)) <= z

    low, high = _bisect(keeps, difference, -1.0), _bisect(keeps, difference, 1.0)
    return Paired(n, only_a, only_b, difference, low, high, level, _mcnemar(only_a, only_b))
