"""An accuracy is a count of a total, and never travels without its interval."""

from dataclasses import dataclass
from functools import lru_cache

from gambeson.stats import accuracy

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Share:
    """`count` of `total` images.

    >>> Share(9, 10).value
    0.9
    """

    count: int
    total: int

    @property
    def value(self) -> float:
        return self.count / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The two-sided Clopper-Pearson interval at 95 %: what another draw of test images could have shown."""
        return _interval(self.count, self.total)


@lru_cache(maxsize=100_000)
def _interval(count: int, total: int) -> tuple[float, float]:
    found = accuracy(count, total, 1 - CONFIDENCE)
    return found.lower, found.upper
