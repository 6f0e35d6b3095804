"""Adaptive certification of a grid of thresholds: the plan that is fixed before the first draw."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UserError
from ._counts import fraction
from .futility import worth
from .group_sequential import limits
from .looks import looks as schedule


@dataclass(frozen=True, eq=False)
class Plan:
    """What is certified, when, and when it is given up; `thresholds` increase.

    With probability at least 1 - alpha over the draws of an image, no threshold above its true probability is ever
    certified, whatever the image is stopped for.
    """

    thresholds: tuple[float, ...]
    looks: tuple[int, ...]
    alpha: float
    price: float
    certifies: NDArray[np.int64]  # (thresholds, looks): the most misses
    continues: NDArray[np.int64]  # (thresholds, looks): the most misses, by the next threshold

    def level(self, look: int, misses: int, before: int = 0) -> int:
        """How many thresholds are certified after `look` with so many misses, `before` of them earlier."""
        return max(before, int((misses <= self.certifies[:, look]).sum()))

    def goes_on(self, look: int, misses: int, level: int) -> bool:
        """Whether the next look is worth its draws."""
        if level == len(self.thresholds) or look == len(self.looks) - 1:
            return False
        return misses <= int(self.continues[level, look])


def plan(
    thresholds: ArrayLike,
    *,
    alpha: float,
    cap: int = 100_000,
    price: float = 1e7,
    last: float = 0.5,
    looks: Sequence[int] | None = None,
) -> Plan:
    """Limits for every threshold, nested so that a higher one is never easier; see `limits` and `worth`.

    >>> made = plan([0.5, 0.9], alpha=0.001, cap=1_000)
    >>> made.level(look=1, misses=2)
    2
    """
    grid = np.atleast_1d(fraction("threshold", thresholds))
    if np.any(np.diff(grid) <= 0):
        raise UserError(f"thresholds = {grid.tolist()!r}; allowed: increasing probabilities")
    seen = tuple(looks) if looks is not None else schedule(cap)
    certifies = np.minimum.accumulate(np.stack([limits(t, seen, alpha, last) for t in grid.tolist()]))
    return Plan(tuple(grid.tolist()), seen, alpha, price, certifies, worth(certifies, seen, price))
