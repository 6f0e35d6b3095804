"""The empirical Bernstein bound on the mean of variables in [0, 1]: the simple formula, kept for comparison."""

import math

from numpy.typing import ArrayLike

from ._counts import fraction
from .betting import histogram


def empirical_bernstein(values: ArrayLike, counts: ArrayLike, alpha: float) -> float:
    """Lower bound on the mean of n >= 2 independent draws in [0, 1], n fixed beforehand: P(bound > mean) <= alpha.

        mean of x - sqrt( 2 V log(2/alpha) / n ) - 7 log(2/alpha) / (3 (n - 1)),   V the unbiased sample variance

    Arguments and errors as `betting.lower`, which is nearly always larger: this bound cannot see, beyond its variance,
    that draws near 1 cannot be outweighed. Returns a float in [0, 1); 0 for a single draw.

    >>> round(empirical_bernstein([0.0, 0.8, 1.0], [100, 400, 9_500], 0.001), 4)
    0.9761

    Paper: Maurer & Pontil, COLT 2009, Theorem 4. We differ in rounding down only.
    """
    x, hits = histogram(values, counts)
    n, log_2 = float(hits.sum()), math.log(2 / float(fraction("alpha", alpha)[()]))
    if n < 2:
        return 0.0
    mean = float(x @ hits) / n
    variance = float((x - mean) ** 2 @ hits) / (n - 1)
    bound = mean - math.sqrt(2 * variance * log_2 / n) - 7 * log_2 / (3 * (n - 1))
    return max(0.0, bound - 1e-12)  # 1e-12: sums of at most a few thousand positive terms, a few ulps each
