"""When more draws of an image are not worth their price. Stopping for futility costs no alpha: it only loses radii."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ..errors import UserError
from ._counts import Floats

NODES = 24  # equally likely values of p that stand for the posterior


def worth(limits: NDArray[np.int64], looks: Sequence[int], price: float) -> NDArray[np.int64]:
    """The most misses with which an image goes on, for each next threshold and look; -1 where it never does.

    An image goes on while some later look j' offers enough for its draws:

        sum over the thresholds t still to come of P(certified at j' | misses so far) / (n_j' - n_j)  >=  1 / price

    with p ~ Beta(hits + 1/2, misses + 1/2), Jeffreys' posterior. This is the index rule of optimal stopping with one
    horizon, and asks the same of every image: `price` draws for a certified radius. One price over all images spends
    the draws where they change the table most.

    Args:
        limits: (thresholds, looks), the most misses that certify each threshold, thresholds increasing.
        looks: increasing numbers of draws.
        price: draws that one more certified radius of one image is worth, > 0.

    Returns: whole numbers (thresholds, looks); row g for images whose next threshold to certify is g.
    Raises: UserError.
    """
    if not 0 < price < np.inf:
        raise UserError(f"price = {price!r} is out of range; allowed: draws > 0, finite, for one more certified radius")
    draws = np.asarray(looks, dtype=np.int64)
    found = np.full(limits.shape, -1, dtype=np.int64)
    for row in range(len(limits)):
        for look in range(len(draws) - 1):
            found[row, look] = _most(limits[row:], draws, look, price)
    return found


def _most(limits: NDArray[np.int64], draws: NDArray[np.int64], look: int, price: float) -> int:
    """Bisect for the most misses worth going on with: the index falls as the misses grow."""
    good, bad = int(limits[0, look]), int(draws[look]) + 1
    if _index(limits, draws, look, good + 1) * price < 1:
        return good
    good += 1
    while bad - good > 1 + 0.002 * np.sqrt(draws[look]):
        middle = (good + bad) // 2
        if _index(limits, draws, look, middle) * price >= 1:
            good = middle
        else:
            bad = middle
    return good


def _index(limits: NDArray[np.int64], draws: NDArray[np.int64], look: int, misses: int) -> float:
    """The best expected number of newly certified thresholds per draw, over later looks."""
    n = int(draws[look])
    p_miss = special.betaincinv(misses + 0.5, n - misses + 0.5, (np.arange(NODES) + 0.5) / NODES)
    more = draws[look + 1 :] - n
    gain: Floats = np.zeros(len(more))
    for row in limits:
        room = (row[look + 1 :] - misses)[:, None]
        chance = np.where(room >= 0, special.bdtr(np.maximum(room, 0), more[:, None], p_miss), 0).mean(1)
        gain += chance
        if chance.max() < 1e-4:
            break
    return float((gain / more).max())
