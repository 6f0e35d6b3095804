"""Certified accuracy against radius: the runs side by side, then every bound on the same counts of each run."""

from collections.abc import Sequence

from gambeson.reports.empirical import numbered
from gambeson.reports.exhibits import Section
from gambeson.reports.grouping import Entry, by_data_and_norm, dataset_of
from gambeson.reports.naming import certified_name, file_stem, headlines
from gambeson.reports.radius_exhibit import radius_exhibit
from gambeson.reports.sections.both import attacked_too, both
from gambeson.reports.sections.cells import CELLS, cells
from gambeson.reports.series import Certified, Source
from gambeson.reports.styling import colours
from gambeson.reports.subsets import subset_name

MOST_LINES = 6  # in one figure; more are divided by noise


def certified(sources: Sequence[Source]) -> Section | None:
    """One figure per data set and norm (per noise where there are many runs), and one per run with several bounds."""
    exhibits, figures = [], []
    tint, numbers = colours(sources), numbered(sources)
    for (dataset, norm), entries in by_data_and_norm(sources).items():
        for noise, part in _parts(entries).items():
            title = f"Certified accuracy against {norm} radius, {dataset or 'data not stated'}"
            stem = file_stem("certified", dataset, norm, noise)
            figures.append(part)
            exhibits.append(radius_exhibit(stem, title, part, tint=tint, numbers=numbers, dataset=dataset))
    for source in sources:
        for head in headlines(source):
            same = [(source, series) for series in source.certified if series.evaluation == head.evaluation]
            for norm in dict.fromkeys(series.norm for _, series in same):
                entries = [entry for entry in same if entry[1].norm == norm]
                if len(entries) > 1:
                    again = _again(source, head)
                    title = f"Every bound on the same counts, {norm}"
                    title += f", {subset_name(head.images)}" if again else ""
                    stem = file_stem("bounds", source.name, head.noise, norm, again)
                    entries = _families(entries)
                    figures.append(entries)
                    tints = {certified_name(*entry): place for place, entry in enumerate(entries)}
                    exhibits.append(
                        radius_exhibit(
                            stem, title, entries, tint=tints, numbers=numbers, dataset=dataset_of(source, sources)
                        )
                    )
    if not exhibits:
        return None
    text: list[str | tuple[str, str]] = [
        "Each curve is the exact step function of the recorded radii: the fraction of all images that are not "
        "abstained on, correct, and certified at that radius or more. Dotted vertical lines mark the largest radius "
        "that the number of draws and alpha allow, or what it comes to under each bound at the last radius of a grid.",
    ]
    attacked = attacked_too(figures)
    if attacked is not None:
        text.append(attacked)
    ranges = cells(sources)
    if ranges:
        text.append(CELLS)
    exhibits += [*ranges, *both(sources, numbers)]
    return Section("certified", "Certified accuracy against radius", text, exhibits)


def _parts(entries: list[Entry]) -> dict[str | None, list[Entry]]:
    if len(entries) <= MOST_LINES:
        return {None: entries}
    parts: dict[str | None, list[Entry]] = {}
    for entry in entries:
        parts.setdefault(entry[1].noise or "noise not stated", []).append(entry)
    return parts


def _again(source: Source, head: Certified) -> str | None:
    """A further part of the file's name when a run was certified twice under one noise."""
    return head.evaluation if sum(other.noise == head.noise for other in headlines(source)) > 1 else None


def _families(entries: list[Entry]) -> list[Entry]:
    """One-sided and two-sided form of a bound next to each other."""
    names = [(series.certificate or "").removesuffix("_two_sided") for _, series in entries]
    order = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return [entry for _, entry in sorted(zip(names, entries, strict=True), key=lambda pair: order[pair[0]])]
