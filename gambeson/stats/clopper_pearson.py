"""Clopper-Pearson bounds on a probability p from k successes in n draws, sound to the last bit.

    lower = the largest p with P(X >= k | n, p) <= alpha,   X ~ Binomial(n, p)       (0 when k = 0)
    upper = the smallest p with P(X <= k | n, p) <= alpha                            (1 when k = n)

`lower` starts from scipy.special.betaincinv and moves until the tail, evaluated with a bound on its rounding error, is
proven to be at most alpha (1 - 1e-10); no library's answer is (betaincinv is a few ulps too high on some counts).
Guarantee: with k the number of successes in n independent draws of one fixed probability p, P(lower(k, n, alpha) > p)
<= alpha for every p, where n and alpha were fixed before the draws. It says nothing about a count on which the class
was chosen, nor about draws that were stopped when they looked good.

Paper: Clopper and Pearson, Biometrika 26 (1934) 404. Where we differ: the last 1e-10 of alpha is given away.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ._counts import Floats, fraction, successes
from ._tail import log_tail

GIVEN_AWAY = 1e-10  # of alpha, on top of the error bound
TIGHT = 1e-9  # the tail is at least alpha (1 - TIGHT - error), or p is the last float that is sound


def _prove(k: Floats, n: Floats, alpha: Floats) -> Floats:
    """Largest sound p for 1-D arrays with k >= 1: a bracket [sound, unsound] shrunk by Newton steps on the log tail."""
    target = np.log(alpha) + np.log1p(-GIVEN_AWAY) - 4 * np.finfo(float).eps * np.abs(np.log(alpha))
    sound, unsound = np.zeros_like(k), np.ones_like(k)
    p = special.betaincinv(k, n - k + 1, alpha * (1 - 2 * GIVEN_AWAY))
    todo = np.arange(k.size)
    for turn in range(200):
        guess = p[todo]
        low, high = sound[todo], unsound[todo]
        inside = (guess > low) & (guess < high)
        guess = np.where(inside, guess, low + (high - low) / 2)
        inside = (guess > low) & (guess < high)  # false: low and high are neighbours, nothing is left to find
        todo, guess = todo[inside], guess[inside]
        if not todo.size:
            break
        tail, error = log_tail(k[todo], n[todo], guess)
        gap = target[todo] - (tail + error)
        good = gap >= 0
        sound[todo[good]] = guess[good]
        unsound[todo[~good]] = guess[~good]
        # d log P(X >= k) / dp lies between k/p (k = n) and the point probability's share of it; Newton aims at the
        # middle of the accepted band, and every third turn bisects so that a bad start cannot make it creep.
        log_point = (
            special.gammaln(n[todo] + 1) - special.gammaln(k[todo]) - special.gammaln(n[todo] - k[todo] + 1)
            + (k[todo] - 1) * np.log(guess) + (n[todo] - k[todo]) * np.log1p(-guess)
        )  # fmt: skip
        with np.errstate(over="ignore"):
            step = (gap - TIGHT / 2) / np.exp(log_point - tail)
        p[todo] = np.nan if turn % 3 == 2 else guess + step
        todo = todo[~(good & (gap < TIGHT))]
    return sound


def _lower(k: Floats, n: Floats, alpha: Floats) -> Floats:
    out = np.zeros(k.shape)
    some = k > 0
    # Equal rows are common (most images' counts are n of n): solve each once.
    rows, where = np.unique(np.stack([k[some], n[some], alpha[some]]), axis=1, return_inverse=True)
    out[some] = _prove(*rows)[where.ravel()]
    return out


def complement(p: Floats) -> Floats:
    """1 - p rounded up (it is exact for p >= 1/2), at most 1."""
    return np.where(p >= 0.5, 1 - p, np.minimum(np.nextafter(1 - p, 2), 1))


def lower(k: ArrayLike, n: ArrayLike, alpha: ArrayLike) -> float | Floats:
    """One-sided lower bound on p: P(lower > p) <= alpha.

    Args:
        k: successes, whole numbers in [0, n]. Arrays broadcast.
        n: draws, whole numbers in [1, 10^9].
        alpha: failure probability in (0, 1).

    Returns: a float for scalars, otherwise an array, in [0, 1); 0 where k = 0; alpha**(1/n) where k = n.
    Raises: UserError naming the argument, its value and its range.

    >>> round(lower(99_000, 100_000, 0.001), 6)
    0.988989
    """
    hits, total, level = np.broadcast_arrays(*successes(k, n), fraction("alpha", alpha))
    out = _lower(hits, total, level)
    return float(out) if out.ndim == 0 else out


def upper(k: ArrayLike, n: ArrayLike, alpha: ArrayLike) -> float | Floats:
    """One-sided upper bound on p: P(upper < p) <= alpha. Arguments and errors as `lower`; in (0, 1], 1 where k = n.

    upper(k, n, alpha) = 1 - lower(n - k, n, alpha), rounded up.

    >>> round(upper(1_000, 100_000, 0.001), 6)
    0.011011
    """
    hits, total, level = np.broadcast_arrays(*successes(k, n), fraction("alpha", alpha))
    misses = _lower(total - hits, total, level)
    out = complement(misses)
    return float(out) if out.ndim == 0 else out


def two_sided(k: ArrayLike, n: ArrayLike, alpha: ArrayLike) -> tuple[float | Floats, float | Floats]:
    """(lower, upper), each at alpha/2: both hold at once with probability >= 1 - alpha.

    >>> [round(end, 4) for end in two_sided(450, 500, 0.05)]
    [0.8703, 0.9249]
    """
    half = fraction("alpha", alpha) / 2
    return lower(k, n, half), upper(k, n, half)
