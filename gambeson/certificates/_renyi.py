"""Li et al.'s lemma: how far, in Renyi divergence, a distribution must move before its top class loses."""

import numpy as np

from ._inputs import Floats, log_ratio


def _log_cosh(x: Floats) -> Floats:
    """log cosh x for x >= 0, to a few ulps, with no overflow."""
    small = np.minimum(x, 1.0)
    return np.where(x < 1, np.log1p(2 * np.sinh(small / 2) ** 2), x + np.log1p(np.exp(-2 * x)) - np.log(2.0))


def divergence_needed(top: Floats, other: Floats, excess: Floats) -> Floats:
    """tau(a) = -log(1 - p1 - p2 + 2 M_{1-a}(p1, p2)) for a = 1 + excess, excess > 0, p1 > p2.

    With r = log(p1/p2) and A the arithmetic mean, M_{1-a} = A exp(-g) where g = log cosh(r/2) + log cosh(excess r/2) /
    excess: two positive terms, so nothing cancels at p1 near p2 and nothing overflows at p2 near 0.
    """
    gap = log_ratio(top, other)
    mass = top + other
    g = _log_cosh(gap / 2) + _log_cosh(excess * gap / 2) / excess
    drop = -mass * np.expm1(-g)
    large = -np.log((1 - top - other) + mass * np.exp(-g))
    return np.where(drop < 0.5, -np.log1p(-np.minimum(drop, 0.5)), large)
