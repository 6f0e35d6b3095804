"""A lower bound on the mean of variables in [0, 1], from how often each value came: a mixture of bets.

    K(m) = sum_j w_j prod_i ( 1 - theta_j + theta_j x_i / m ),   sum_j w_j = 1
    lower = the largest m with K(m) >= 1/alpha

K(m) is the wealth of one who starts with 1 and bets the share theta_j, at fair odds if the mean is m, on every draw
being above it. With mean mu, E K(mu) = 1, so K(mu) >= 1/alpha has probability at most alpha (Markov); by Ville's
inequality that holds even if K is watched after every draw. K falls with m, so every m up to `lower` is rejected.
The bets are fixed, hence the order of the draws does not matter and counts of values are all that is needed.

Guarantee: if the values are independent draws in [0, 1] with mean mu, P(lower > mu) <= alpha, at a number of draws that
is fixed or a stopping time.

Papers: Waudby-Smith & Ramdas, JRSS B 86 (2024) 1; Robbins 1970 for mixtures. Where we differ: their bets follow the
draws before, ours are a fixed mixture, which needs no order; and every product is rounded down.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ..errors import UserError
from ._counts import MOST_DRAWS, Floats, fraction, refuse, whole
from ._tail import EPS
from .clopper_pearson import complement

# Bets from all-in, which many sure draws deserve, down to 1/256, below which a million draws can hardly go; neighbours
# are near enough that none is missed, and weights favour the large ones, since few draws can only be won by those.
THETA = 0.8 ** np.arange(26)
WEIGHT = (1 / np.arange(1, 27)) / (1 / np.arange(1, 27)).sum() * (1 - 64 * EPS)


def _log_wealth(values: Floats, counts: Floats, mean: float) -> float:
    """A lower bound on log K(mean). The factors are sums of positive terms, so each is off by 4 roundings at most."""
    with np.errstate(divide="ignore"):
        logs = np.log((1 - THETA[:, None]) + THETA[:, None] * (values / mean))
    error = 8 * EPS * counts.sum() + (len(values) + 8) * EPS * (np.abs(logs) @ counts)
    lost = np.isneginf(logs).any(1)  # all-in on a draw that was worth nothing
    with np.errstate(invalid="ignore"):
        wealth = np.where(lost, -np.inf, logs @ counts - error)
    found = float(special.logsumexp(wealth, b=WEIGHT))
    return found - 64 * EPS * (1 + abs(found))


def lower(values: ArrayLike, counts: ArrayLike, alpha: float) -> float:
    """One-sided lower bound on the mean: P(lower > mean) <= alpha.

    Args:
        values: numbers in [0, 1], (B,). Where draws were rounded down to them, the bound holds for the mean of the
            draws all the more.
        counts: how often each came, whole numbers (B,), adding up to n in [1, 10^9].
        alpha: failure probability in (0, 1).

    Returns: a float in [0, 1). Raises: UserError naming the argument, its value and its range.

    >>> round(lower([0.0, 0.8, 1.0], [100, 400, 9_500], 0.001), 4)
    0.9769
    """
    x, hits = histogram(values, counts)
    target = -np.log(float(fraction("alpha", alpha)[()])) * (1 + 4 * EPS)
    sound, unsound = 0.0, min(1.0, float(x @ hits) / float(hits.sum()) * (1 + 1e-9))
    for _ in range(60):
        middle = (sound + unsound) / 2
        if not sound < middle < unsound:
            break
        if _log_wealth(x, hits, middle) >= target:
            sound = middle
        else:
            unsound = middle
    return sound


def upper(values: ArrayLike, counts: ArrayLike, alpha: float) -> float:
    """One-sided upper bound on the mean: P(upper < mean) <= alpha. Arguments and errors as `lower`; in (0, 1].

    upper = 1 - lower of the misses 1 - x, rounded up.

    >>> round(upper([0.0, 0.8, 1.0], [100, 400, 9_500], 0.001), 4)
    0.9863
    """
    x, hits = histogram(values, counts)
    misses = np.maximum(0.0, np.nextafter(1 - x, -1))
    return float(complement(np.asarray(lower(misses, hits, alpha))))


def histogram(values: ArrayLike, counts: ArrayLike) -> tuple[Floats, Floats]:
    """The values that came and how often, or a UserError."""
    hits = whole("counts", counts, 0, MOST_DRAWS)
    x = np.asarray(values, dtype=np.float64)
    refuse("values", x, ~((x >= 0) & (x <= 1)), "numbers from 0 to 1")
    if x.ndim != 1 or x.shape != hits.shape or not 1 <= hits.sum() <= MOST_DRAWS:
        found = f"{x.shape} and {hits.shape}, {hits.sum():.0f} draws"
        raise UserError(f"values and counts have shapes {found}; allowed: both (B,), 1 to {MOST_DRAWS} draws")
    return x[hits > 0], hits[hits > 0]
