"""Other norms by reduction: tables of their own, because no certificate here was made for these norms."""

from collections.abc import Sequence
from typing import Any

from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.grouping import data_name, dataset_of, natural
from gambeson.reports.naming import file_stem
from gambeson.reports.reduced import Reduced, reduced, sizes
from gambeson.reports.series import Source
from gambeson.reports.shares import Share
from gambeson.reports.subsets import alike
from gambeson.reports.tables import Column, Kind, Table

WHAT: dict[str, tuple[str, Kind]] = {"linf": ("linf radius", "radius"), "l0": ("number of pixels", "count")}


def reductions(sources: Sequence[Source]) -> Section | None:
    """One table per data set and norm (linf, l0), a row per run and noise."""
    groups: dict[tuple[str, str | None], list[Reduced]] = {}
    for source in sources:
        for one in reduced(source):
            groups.setdefault((one.norm, dataset_of(source, sources)), []).append(one)
    exhibits = [_exhibit(dataset, found) for (_, dataset), found in groups.items()]
    if not exhibits:
        return None
    text: list[str | tuple[str, str]] = [
        "No certificate here was made for these norms: the numbers follow from one in l2 or l1, at no cost in "
        "alpha. Certificates made for these norms may show more, and no column here compares with an l2 or l1 radius.",
        (
            "linf",
            "A perturbation of d values by e each is e√d long in l2 and e · d in l1, and no other of that linf size is "
            "longer: a radius R covers every e below R/√d (l2) or R/d (l1).",
        ),
        (
            "l0",
            "A change of k pixels of C values each is at most √(C · k) long in l2 and C · k in l1, because a value in "
            "[0, 1] changes by at most 1: it is covered where that is below R.",
        ),
        (
            "Which perturbations",
            "The stated radius, or number of pixels, is included. Radii in linf are whole levels of the images: "
            "rounding to the pixel lattice keeps a real-valued perturbation within them, and within its k pixels, so "
            "these accuracies hold against real-valued perturbations too.",
        ),
    ]
    return Section("reductions", "Other norms, by reduction", text, exhibits)


def _exhibit(dataset: str | None, found: Sequence[Reduced]) -> Exhibit:
    norm, shown = found[0].norm, sizes(found, dataset)
    what, kind = WHAT[norm]
    columns = [
        *(Column("run"), Column("noise"), Column("certified")),
        *(Column(f"accuracy, {found[0].size_name(size)}", "accuracy", "max") for size in shown),
        *(Column(f"largest possible {what}", kind), Column("natural accuracy (base, no noise)", "accuracy")),
        *(Column("radii"), Column("1 − alpha per image", "setting"), Column("images", "count"), Column("data")),
    ]
    rows = [_row(one, shown) for one in found]
    groups = alike([one.series.images for one in found])
    title = f"Certified accuracy by reduction, {norm}, {dataset or 'data not stated'}, pixels in [0, 1]"
    text = f"{title}: against every perturbation of at most the stated {what}. 95% intervals are in the CSV."
    return Exhibit(file_stem("reductions", dataset, norm), text, Table(columns, rows, groups))


def _row(one: Reduced, shown: Sequence[float]) -> list[Any]:
    series, images = one.series, one.series.images
    accuracies = [Share(one.count(size), images.total) for size in shown]
    conditions = ["in full" if series.grid is None else "of a grid", None if series.alpha is None else 1 - series.alpha]
    conditions += [images.total, data_name(one.source, images)]
    head = [one.source.name, series.noise, one.label]
    return [*head, *accuracies, one.largest, natural(one.source, images), *conditions]
