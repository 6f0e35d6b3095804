"""One row per run and noise: natural, certified, abstained and wrong, each with its interval and its conditions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gambeson.reports.curves import average_radius, counts_at
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.grouping import Entry, by_data_and_norm, data_name, fixed_radii, natural
from gambeson.reports.naming import bound, budget, file_stem, radius_name
from gambeson.reports.series import Images, Source
from gambeson.reports.shares import CONFIDENCE, Share
from gambeson.reports.subsets import alike, joined
from gambeson.reports.tables import Column, Table


def overview(sources: Sequence[Source]) -> Section | None:
    """The first table of the page, one per data set and norm; runs without certificates have a table of their own."""
    exhibits = [_certified(dataset, norm, entries) for (dataset, norm), entries in by_data_and_norm(sources).items()]
    bare = [source for source in sources if not source.certified and (source.clean or source.attacked)]
    if bare:
        exhibits.append(_bare(bare))
    if not exhibits:
        return None
    text = [
        "Natural accuracy is that of the base classifier on clean images, without noise. Certified accuracy at a "
        "radius "
        "is the fraction of all images that are not abstained on, answered correctly, and certified at that radius or "
        "more; at radius 0 it is the accuracy of the smoothed classifier. Brackets hold "
        f"the two-sided {CONFIDENCE:.0%} Clopper-Pearson interval over the draw of the test images.",
    ]
    return Section("overview", "Overview", text, exhibits)


def _certified(dataset: str | None, norm: str, entries: list[Entry]) -> Exhibit:
    radii = fixed_radii(entries, dataset)
    columns = [
        *(Column("run"), Column("images", "count"), Column("data"), Column("method"), Column("noise")),
        Column("natural accuracy (base, no noise)", "share"),  # perhaps of other images than the row's: no best
        *(
            Column(f"certified accuracy, {norm} radius {radius_name(radius)}", "share", "max")
            for radius in [0.0, *radii]
        ),
        *(Column("abstained", "share"), Column("wrong", "share")),
        Column(f"average certified radius ({norm})", "radius", "max"),
        Column(f"largest possible radius ({norm})", "radius"),
        *(Column("bound"), Column("1 − alpha per image", "setting"), Column("draws n0", "count")),
        Column("draws n", "count"),
    ]
    rows: list[list[Any]] = []
    for source, series in entries:
        images, total = series.images, series.images.total
        shares = [natural(source, images)]
        shares += [Share(int(count), total) for count in counts_at(series, np.array([0.0, *radii]))]
        shares += [Share(images.abstained, total), Share(images.wrong, total)]
        settings = [
            joined(bound(series.certificate), budget(series)),
            None if series.alpha is None else 1 - series.alpha,
        ]
        settings += [series.select_draws, series.draws]
        head = [source.name, total, data_name(source, images), source.method, series.noise]
        rows.append([*head, *shares, average_radius(series), series.max_radius, *settings])
    title = f"Natural and certified accuracy, {dataset or 'data not stated'}, {norm} norm, pixels in [0, 1]"
    groups = alike([series.images for _, series in entries])
    text = f"{title}. Bold: the best of a column among rows on the same images."
    return Exhibit(file_stem("overview", dataset, norm), text, Table(columns, rows, groups))


def _bare(sources: list[Source]) -> Exhibit:
    columns = [Column("run"), Column("images", "count"), Column("data"), Column("method")]
    columns.append(Column("natural accuracy (base, no noise)", "share", "max"))
    first = [_first(source) for source in sources]
    rows = [
        [source.name, images.total, data_name(source, images), source.method, natural(source, images)]
        for source, images in zip(sources, first, strict=True)
    ]
    text = "Natural accuracy of runs that hold no certificates. Bold: the best among rows on the same images."
    return Exhibit("overview-uncertified", text, Table(columns, rows, alike(first)))


def _first(source: Source) -> Images:
    """The images of the natural accuracy: of the first clean evaluation, else of the first attack on the base."""
    base = [attacked.images for attacked in source.attacked if attacked.settings["target"] == "base"]
    return [*source.clean, *base, *(attacked.images for attacked in source.attacked)][0]
