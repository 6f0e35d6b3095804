"""Adaptive certification of a grid of thresholds: the plan that is fixed before the first draw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UserError
from . import beta_mixture, group_sequential
from ._counts import fraction
from .futility import worth
from .looks import looks as schedule

PRICE = 5e6  # draws that one more certified radius is worth, unless said otherwise
Limits = Callable[[float, Sequence[int], float], NDArray[np.int64]]  # threshold, looks, alpha -> the most misses
RULES: dict[str, Limits] = {"group_sequential": group_sequential.limits, "beta_mixture": beta_mixture.limits}


@dataclass(frozen=True, eq=False)
class Plan:
    """What is certified, when, and when it is given up; `thresholds` increase.

    With probability at least 1 - alpha over the draws of an image, no threshold above its true probability is ever
    certified, whatever the image is stopped for.
    """

    thresholds: tuple[float, ...]
    looks: tuple[int, ...]
    alpha: float
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
    price: float | None = PRICE,
    rule: str = "group_sequential",
    looks: Sequence[int] | None = None,
) -> Plan:
    """Limits for every threshold, nested so that a higher one is never easier.

    price: see `worth`; None goes on as long as there are draws. rule: whose `limits`, "group_sequential" (sharper at
    the cap) or "beta_mixture" (sharper early on).

    >>> made = plan([0.5, 0.9], alpha=0.001, cap=1_000)
    >>> made.level(look=1, misses=2)
    2
    """
    grid = np.atleast_1d(fraction("threshold", thresholds))
    if np.any(np.diff(grid) <= 0):
        raise UserError(f"thresholds = {grid.tolist()!r}; allowed: increasing probabilities")
    seen = tuple(looks) if looks is not None else schedule(cap)
    return _plan(tuple(grid.tolist()), seen, float(fraction("alpha", alpha)), price, rule)


@lru_cache(maxsize=16)  # a certification asks again once its form is known
def _plan(thresholds: tuple[float, ...], looks: tuple[int, ...], alpha: float, price: float | None, rule: str) -> Plan:
    limits = limits_of(rule)
    certifies = np.minimum.accumulate(np.stack([limits(t, looks, alpha) for t in thresholds]))
    continues = np.tile(np.array(looks), (len(thresholds), 1)) if price is None else worth(certifies, looks, price)
    return Plan(thresholds, looks, alpha, certifies, continues)


def attainable(threshold: float, *, alpha: float, cap: int = 100_000, rule: str = "group_sequential") -> bool:
    """Whether `cap` draws that all hit certify `threshold`: if not, no plan up to `cap` ever does.

    >>> attainable(0.99, alpha=0.001, cap=1_000), attainable(0.999, alpha=0.001, cap=1_000)
    (True, False)
    """
    return int(limits_of(rule)(threshold, [cap], alpha)[0]) >= 0


def limits_of(rule: str) -> Limits:
    if rule not in RULES:
        raise UserError(f"rule is {rule!r}; it must be one of {', '.join(RULES)}")
    return RULES[rule]
