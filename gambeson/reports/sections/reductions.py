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

WHAT: dict[str, tuple[str, Kind]] = {"linf": ("linf radius", "radius"), "l0": ("number of changed pixels", "count")}


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
        "No certificate here was made for these norms. A radius R in l2 (or l1) also covers every linf perturbation "
        "below R/√d (R/d) in d values, because none of them is longer; and every change of k pixels of C values each "
        "while √(C k) (C k) is below R, because a value in [0, 1] changes by at most 1. This adds nothing to alpha. "
        "Certificates made for these norms may show more, and no column here compares with an l2 or l1 radius.",
        "The stated radius, or number of pixels, is included. Radii in linf are whole levels of the images: rounding "
        "to the pixel lattice keeps a real-valued perturbation within them, and within its k pixels, so these "
        "accuracies hold against real-valued perturbations too.",
    ]
    return Section("reductions", "Other norms, by reduction", text, exhibits)


def _exhibit(dataset: str | None, found: Sequence[Reduced]) -> Exhibit:
    norm, shown = found[0].norm, sizes(found, dataset)
    what, kind = WHAT[norm]
    columns = [
        *(
            Column("run"),
            Column("images", "count"),
            Column("data"),
            Column("noise"),
            Column("certified"),
            Column("radii"),
        ),
        *(Column(f"certified accuracy, {found[0].size_name(size)}", "share", "max") for size in shown),
        *(Column(f"largest possible {what}", kind), Column("1 − alpha per image", "setting")),
        Column("natural accuracy (base, no noise)", "share"),
    ]
    rows = [_row(one, shown) for one in found]
    groups = alike([one.series.images for one in found])
    title = f"Certified accuracy by reduction, {norm}, {dataset or 'data not stated'}, pixels in [0, 1]"
    text = f"{title}: against every perturbation of at most the stated {what}."
    return Exhibit(file_stem("reductions", dataset, norm), text, Table(columns, rows, groups))


def _row(one: Reduced, shown: Sequence[float]) -> list[Any]:
    images, alpha = one.series.images, one.series.alpha
    kind = "in full" if one.series.grid is None else "of a grid"
    head = [one.source.name, images.total, data_name(one.source, images), one.series.noise, one.label, kind]
    shares = [Share(one.count(size), images.total) for size in shown]
    return [*head, *shares, one.largest, None if alpha is None else 1 - alpha, natural(one.source, images)]
