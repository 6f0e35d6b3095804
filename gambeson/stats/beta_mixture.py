"""An anytime-valid test and lower bound for one probability: a mixture of likelihood ratios (a bet on a larger p).

    e_t = (integral over theta in (t, 1) of theta^hits (1 - theta)^misses) / ((1 - t) t^hits (1 - t)^misses)
        = P(X <= hits) / ((n + 1) (1 - t) P(Y = hits)),   X ~ Binomial(n + 1, t), Y ~ Binomial(n, t)

While the draws hit with probability t, e_t is a martingale that starts at 1 (with a smaller probability it falls), so
by Ville's inequality it ever reaches 1/alpha with probability at most alpha, however the draws are stopped. The prior
is uniform over (t, 1), whatever t: no scale has to be chosen. It knows no looks and no cap; where both are fixed
beforehand, `group_sequential` is sharper at the cap.

Papers: Robbins, Ann. Math. Stat. 41 (1970) 1397 (mixtures); Voracek 2024 certifies smoothed classifiers by a two-sided
one. Where we differ: the prior is cut off at t, so nothing is spent on probabilities below it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._counts import Floats, fraction, successes
from ._tail import log_point, log_tail
from .group_sequential import increasing


def log_evidence(hits: Floats, draws: Floats, threshold: Floats) -> Floats:
    """A lower bound on log e_t, 1-D arrays."""
    point, error = log_point(hits, draws, threshold)
    tail, slack = log_tail(hits + 1, draws + 1, threshold)
    more = np.minimum(tail + slack, 0.0)
    with np.errstate(divide="ignore"):
        below = np.log(-np.expm1(more))  # P(X <= hits) = 1 - P(X >= hits + 1)
    return below - np.log(draws + 1) - np.log1p(-threshold) - point - error - 1e-12


def limits(threshold: float, looks: Sequence[int], alpha: float) -> NDArray[np.int64]:
    """The most misses with which `threshold` is certified at each look; -1 where none are few enough.

    Arguments, guarantee and errors as `group_sequential.limits`; the guarantee holds for all looks there could be.
    """
    t, level, draws = float(fraction("threshold", threshold)), float(fraction("alpha", alpha)), increasing(looks)
    low, high = np.full(len(draws), -1), draws.copy()  # certified at low, not at high
    while np.any(high - low > 1):
        middle = np.where(high - low > 1, (low + high) // 2, np.maximum(low, 0))
        hits = (draws - middle).astype(float)
        enough = log_evidence(hits, draws.astype(float), np.full(len(draws), t)) >= -np.log(level)
        todo = high - low > 1
        low, high = np.where(todo & enough, middle, low), np.where(todo & ~enough, middle, high)
    return low.astype(np.int64)


def lower(hits: ArrayLike, draws: ArrayLike, alpha: ArrayLike) -> float | Floats:
    """Lower bound on p at any stopping time: P(some n has lower(hits_n, n, alpha) > p) <= alpha.

    hits, draws, alpha: as `clopper_pearson.lower`. Returns a float for scalars, otherwise an array, in [0, 1).

    >>> round(lower(99_000, 100_000, 0.001), 6)
    0.988559
    """
    k, n, level = np.broadcast_arrays(*successes(hits, draws), fraction("alpha", alpha))
    shape, (k, n, level) = k.shape, (v.ravel().astype(float) for v in (k, n, level))
    sound, unsound = np.zeros(k.shape), k / n
    for _ in range(60):
        middle = (sound + unsound) / 2
        some = (middle > 0) & (middle < 1)
        good = np.zeros(k.shape, dtype=bool)
        good[some] = log_evidence(k[some], n[some], middle[some]) >= -np.log(level[some])
        sound, unsound = np.where(good, middle, sound), np.where(good, unsound, middle)
    return float(sound[0]) if shape == () else sound.reshape(shape)
