"""Group-sequential tests of one probability: look at the counts as they grow, be wrong at most alpha over all looks.

A threshold t is *certified* at a look if the misses so far are at most that look's limit. The limits are chosen so that
the chance of ever certifying t, when the true probability is t, is at most alpha: computed exactly, by a recursion over
(look, misses). It falls with the true probability, so the guarantee holds for every p <= t. Limits that are nested over
thresholds (a higher one is never easier) make one statement of all of them: the largest certified threshold is a lower
bound on p that holds at any stopping time with probability at least 1 - alpha.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ._counts import MOST_DRAWS, Floats, fraction, whole

LAST = 0.6  # of alpha: so much that a last look decides almost as a fixed budget does
REACH = 9.0  # standard deviations of an increment that are kept, and 60 counts more; what is dropped is bounded
GIVEN_AWAY = 1e-9  # of every probability, for rounding: about 10^6 products and sums of positive numbers


def limits(threshold: float, looks: Sequence[int], alpha: float) -> NDArray[np.int64]:
    """The most misses with which `threshold` is certified at each look; -1 where none are few enough.

    Args:
        threshold: t in (0, 1).
        looks: increasing numbers of draws, fixed before the first of them.
        alpha: failure probability in (0, 1) over all looks together. `LAST` of it is kept for the last look; of the
            rest, (k / K)^2 is spent by the k-th of the K looks before it, counted from the first one at which unanimous
            draws can certify t.

    Returns: whole numbers (looks,).
    Guarantee: if the misses are those of independent draws that hit with probability p <= t, then P(at some look the
    misses are at most its limit) <= alpha, whatever else is stopped for.
    Raises: UserError.
    """
    t, level, draws = float(fraction("threshold", threshold)), float(fraction("alpha", alpha)), increasing(looks)
    opens = int(np.searchsorted(draws, np.log(level) / np.log(t)))
    early = np.clip((np.arange(len(draws)) - opens + 1) / max(1, len(draws) - 1 - opens), 0, 1)
    spent = np.append((1 - LAST) * early[:-1] ** 2, 1) * level
    found = np.full(len(draws), -1, dtype=np.int64)
    walk = _Walk(t)
    for look, (n, allowed) in enumerate(zip(draws, spent, strict=True)):
        walk.to(int(n))
        found[look] = walk.certify_most(allowed)
    # Misses only grow: who has no more than an earlier limit was certified then. Said again at later looks, so that a
    # plan's nesting takes nothing from higher thresholds.
    return np.maximum.accumulate(found)


def crossing(p: float, looks: Sequence[int], misses: Sequence[int] | NDArray[np.int64]) -> float:
    """Upper bound on P(at some look the misses are at most its limit) at the true `p`, to about 1e-9 of itself + 1e-15.

    >>> round(crossing(0.9, [50, 100], [0, 2]), 6)
    0.006523
    """
    t, draws = float(fraction("p", p)), increasing(looks)
    walk = _Walk(t)
    for n, limit in zip(draws, misses, strict=True):
        walk.to(int(n))
        walk.certify(int(limit))
    return walk.certified + walk.dropped


class _Walk:
    """The distribution of the misses of those who have not been certified yet, look by look."""

    def __init__(self, p: float) -> None:
        self.p, self.draws, self.least, self.mass = p, 0, 0, np.ones(1)
        self.certified = 0.0  # upper bound on the probability so far, but for what was dropped
        self.dropped = 0.0  # upper bound on the probability that is not followed any further

    def to(self, draws: int) -> None:
        least, increment, dropped = binomial_misses(draws - self.draws, self.p)
        self.mass = np.convolve(self.mass, increment)
        self.least += least
        self.dropped += dropped
        self.draws = draws

    def certify(self, limit: int) -> None:
        cut = min(max(0, limit - self.least + 1), len(self.mass))
        self.certified += float(self.mass[:cut].sum()) * (1 + GIVEN_AWAY)
        self.mass, self.least = self.mass[cut:] if cut < len(self.mass) else np.zeros(1), self.least + cut

    def certify_most(self, allowed: float) -> int:
        """Certify as many misses as keep the total within `allowed`; the limit, or -1."""
        room = allowed - self.certified - self.dropped
        cut = int(np.searchsorted(np.cumsum(self.mass) * (1 + GIVEN_AWAY), room, side="right"))
        limit = self.least + cut - 1 if cut else -1
        self.certify(limit)
        return limit


def binomial_misses(n: int, p: float) -> tuple[int, Floats, float]:
    """P(misses = m) for n draws around its mode: the least m kept, the probabilities, a bound on what is dropped.

    Neighbouring probabilities are in the ratio (n - m) q / ((m + 1) p): products of positive numbers from the mode
    outward, normalised over what is kept, hence a little too large, which is the safe side.
    """
    q = 1 - p
    reach = REACH * np.sqrt(n * p * q) + 60
    low, high = max(0, int(n * q - reach)), min(n, int(n * q + reach))
    mode = min(max(int((n + 1) * q), low), high)
    up = np.arange(mode, high)
    down = np.arange(mode, low, -1)
    above = np.cumprod((n - up) * q / ((up + 1) * p))
    below = np.cumprod(down * p / ((n - down + 1) * q))
    mass = np.concatenate([below[::-1], [1.0], above])
    # Bernstein: P(|M - nq| > x) <= 2 exp(-x^2 / (2 npq + 2x/3)); nothing is dropped where the range is whole.
    whole_range = low == 0 and high == n
    dropped = 0.0 if whole_range else float(2 * np.exp(-(reach**2) / (2 * n * p * q + 2 * reach / 3)))
    return low, mass / mass.sum(), dropped


def increasing(looks: Sequence[int]) -> NDArray[np.int64]:
    """A schedule of looks as an array, or a UserError."""
    draws = whole("looks", looks, 1, MOST_DRAWS).astype(np.int64)
    if draws.ndim != 1 or not draws.size or np.any(np.diff(draws) <= 0):
        raise UserError(f"looks = {list(looks)!r}; allowed: increasing whole numbers of draws, at least one")
    return draws
