"""Runs compared two by two on the same images: paired difference, its interval, and McNemar's exact test."""

from collections.abc import Sequence
from itertools import combinations

from gambeson.reports.differences import columns, difference
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.grouping import Entry, by_data_and_norm, fixed_radii
from gambeson.reports.matching import matched
from gambeson.reports.naming import budget, certified_name, file_stem
from gambeson.reports.sections.attacked_pairs import attacked_pairs
from gambeson.reports.series import Array, Certified, Source
from gambeson.reports.subsets import differing, joined
from gambeson.reports.tables import Column, Table

ATTACKED = (
    "Under attack, two runs are compared where every setting of the attack (its card, but for the run's own "
    "inference form) and eps are the same. Accuracy "
    "under attack is an upper bound: a difference may also be that the attack is weaker against one of the two."
)


def pairs(sources: Sequence[Source]) -> Section | None:
    """All pairs of one data set and norm that were certified under the same noise (a log's noise may be unknown), and
    all that were attacked under the same card at the same eps."""
    exhibits, skipped = [], []
    for (dataset, norm), entries in by_data_and_norm(sources).items():
        rows, ways = [], set()
        kinds = {_budget_of(entry, entry) for entry in entries}
        apart = differing([series.images for _, series in entries])
        names = [joined(certified_name(*entry), of) for entry, of in zip(entries, apart, strict=True)]
        for (a, name_a), (b, name_b) in combinations(zip(entries, names, strict=True), 2):
            if a[0] is b[0] or (a[1].noise != b[1].noise and None not in (a[1].noise, b[1].noise)):
                continue
            if budget(a[1]) != budget(b[1]) and kinds & {_budget_of(a, b), _budget_of(b, a)}:
                continue  # one of them has the other's budget too: like is compared with like
            match = matched(a[1].images, b[1].images)
            if isinstance(match, str):
                skipped.append(f"{name_a} and {name_b} are not paired: {match}.")
                continue
            left, right, how = match
            ways.add(how)
            radii = [0.0, *fixed_radii([a, b], dataset)]
            rows += [[name_a, name_b, radius, *_cells(a, b, left, right, radius)] for radius in radii]
        if rows:
            exhibits.append(_exhibit(file_stem("pairs", dataset, norm), norm, rows, ways))
    under_attack, not_paired = attacked_pairs(sources)
    exhibits, skipped = [*exhibits, *under_attack], [*skipped, *not_paired]
    if not exhibits and not skipped:
        return None
    text = [
        "Difference on the same images, a minus b. The p-value is McNemar's exact test, two-sided, of the images that "
        "count for one only. No correction is made for the number of comparisons shown.",
        *([ATTACKED] if under_attack else []),
        *skipped,
    ]
    return Section("pairs", "Runs compared on the same images", text, exhibits)


def _budget_of(entry: Entry, other: Entry) -> tuple[str, str | None, str]:
    """What there would be if an entry's run had been certified with the other's budget."""
    return entry[0].name, entry[1].noise, budget(other[1])


def _cells(a: Entry, b: Entry, left: Array, right: Array, radius: float) -> list[object]:
    return difference(
        *((a[0], a[1].images), (b[0], b[1].images)),
        *(_holds(a[1], radius)[left], _holds(b[1], radius)[right]),
    )


def _holds(series: Certified, radius: float) -> Array:
    return series.images.correct & (series.images.predict != -1) & (series.radius >= radius)


def _exhibit(stem: str, norm: str, rows: list[list[object]], ways: set[str]) -> Exhibit:
    head = [Column("a"), Column("b"), Column(f"{norm} radius", "setting")]
    text = f"Paired differences of certified accuracy, {norm} norm; images matched by {' or by '.join(sorted(ways))}."
    return Exhibit(stem, text, Table([*head, *columns("certified")], rows))
