"""Runs compared two by two on the same images: paired difference, its interval, and McNemar's exact test."""

from collections.abc import Sequence
from itertools import combinations

from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.grouping import Entry, by_data_and_norm, fixed_radii, natural
from gambeson.reports.matching import matched
from gambeson.reports.naming import certified_name, file_stem
from gambeson.reports.series import Array, Certified, Source
from gambeson.reports.shares import CONFIDENCE
from gambeson.reports.tables import Column, Table
from gambeson.stats.paired import paired


def pairs(sources: Sequence[Source]) -> Section | None:
    """All pairs of one data set and norm that were certified under the same noise (a log's noise may be unknown)."""
    exhibits, skipped = [], []
    for (dataset, norm), entries in by_data_and_norm(sources).items():
        rows, ways = [], set()
        for a, b in combinations(entries, 2):
            if a[0] is b[0] or (a[1].noise != b[1].noise and None not in (a[1].noise, b[1].noise)):
                continue
            match = matched(a[1].images, b[1].images)
            if isinstance(match, str):
                skipped.append(f"{certified_name(*a)} and {certified_name(*b)} are not paired: {match}.")
                continue
            left, right, how = match
            ways.add(how)
            rows += [_row(a, b, left, right, radius) for radius in [0.0, *fixed_radii([a, b], dataset)]]
        if rows:
            exhibits.append(_exhibit(file_stem("pairs", dataset, norm), norm, rows, ways))
    if not exhibits and not skipped:
        return None
    text = [
        "Difference of certified accuracy on the same images, a minus b. The p-value is McNemar's exact test, "
        "two-sided, of images certified by one only. No correction is made for the number of comparisons shown.",
        *skipped,
    ]
    return Section("pairs", "Runs compared on the same images", text, exhibits)


def _row(a: Entry, b: Entry, left: Array, right: Array, radius: float) -> list[object]:
    result = paired(_holds(a[1], radius)[left], _holds(b[1], radius)[right], 1 - CONFIDENCE)
    return [
        *(certified_name(*a), certified_name(*b), radius, result.n, result.only_a, result.only_b),
        *(result.difference, result.lower, result.upper, result.p_value),
        *(natural(source, series.images) for source, series in (a, b)),
    ]


def _holds(series: Certified, radius: float) -> Array:
    return series.images.correct & (series.images.predict != -1) & (series.radius >= radius)


def _exhibit(stem: str, norm: str, rows: list[list[object]], ways: set[str]) -> Exhibit:
    level = f"{CONFIDENCE:.0%}"
    columns = [
        *(Column("a"), Column("b"), Column(f"{norm} radius", "setting"), Column("images", "count")),
        *(Column("certified by a only", "count"), Column("certified by b only", "count")),
        *(Column("difference a − b", "signed"), Column(f"{level} interval, lower", "signed")),
        *(Column(f"{level} interval, upper", "signed"), Column("McNemar p", "probability")),
        *(Column(f"natural accuracy (base, no noise) of {which}", "accuracy") for which in "ab"),
    ]
    text = f"Paired differences of certified accuracy, {norm} norm; images matched by {' or by '.join(sorted(ways))}."
    return Exhibit(stem, text, Table(columns, rows))
