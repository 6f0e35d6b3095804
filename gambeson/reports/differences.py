"""The cells of one paired comparison, and the columns that hold them: the same in every table of pairs."""

from gambeson.reports.grouping import natural
from gambeson.reports.series import Array, Images, Source
from gambeson.reports.shares import CONFIDENCE
from gambeson.reports.tables import Column
from gambeson.stats.paired import paired

Side = tuple[Source, Images]


def columns(metric: str) -> list[Column]:
    """The columns of `difference`; `metric` completes "... by a only"."""
    level = f"{CONFIDENCE:.0%}"
    return [
        *(Column("images", "count"), Column(f"{metric} by a only", "count"), Column(f"{metric} by b only", "count")),
        *(Column("difference a − b", "signed"), Column(f"{level} interval, lower", "signed")),
        *(Column(f"{level} interval, upper", "signed"), Column("McNemar p", "probability")),
        *(Column(f"natural accuracy (base, no noise) of {which}", "accuracy") for which in "ab"),
    ]


def difference(a: Side, b: Side, holds_a: Array, holds_b: Array) -> list[object]:
    """Where a and b hold, bool (n,) each, the same images in the same order, as one row's cells."""
    result = paired(holds_a, holds_b, 1 - CONFIDENCE)
    return [
        *(result.n, result.only_a, result.only_b),
        *(result.difference, result.lower, result.upper, result.p_value),
        *(natural(source, images) for source, images in (a, b)),
    ]
