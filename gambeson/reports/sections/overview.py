"""One row per run and noise: natural, certified, abstained and wrong, each with its interval and its conditions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gambeson.reports.curves import average_radius, counts_at
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.grouping import Entry, by_data_and_norm, data_name, fixed_radii, natural
from gambeson.reports.naming import bound, file_stem, radius_name
from gambeson.reports.series import Images, Source
from gambeson.reports.shares import CONFIDENCE, Share
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
        *(Column("run"), Column("method"), Column("noise")),
        Column("natural accuracy (base, no noise)", "share", "max"),
        *(
            Column(f"certified accuracy, {norm} radius {radius_name(radius)}", "share", "max")
            for radius in [0.0, *radii]
        ),
        *(Column("abstained", "share"), Column("wrong", "share")),
        Column(f"average certified radius ({norm})", "radius", "max"),
        Column(f"largest possible radius ({norm})", "radius"),
        *(Column("bound"), Column("1 − alpha per image", "setting"), Column("draws n0", "count")),
        *(Column("draws n", "count"), Column("images", "count"), Column("data")),
    ]
    rows: list[list[Any]] = []
    for source, series in entries:
        images, total = series.images, series.images.total
        shares = [natural(source, images)]
        shares += [Share(int(count), total) for count in counts_at(series, np.array([0.0, *radii]))]
        shares += [Share(images.abstained, total), Share(images.wrong, total)]
        settings = [bound(series.certificate), None if series.alpha is None else 1 - series.alpha]
        settings += [series.select_draws, series.draws, total, data_name(source, images)]
        head = [source.name, source.method, series.noise]
        rows.append([*head, *shares, average_radius(series), series.max_radius, *settings])
    title = f"Natural and certified accuracy, {dataset or 'data not stated'}, {norm} norm, pixels in [0, 1]"
    return Exhibit(file_stem("overview", dataset, norm), f"{title}. Bold: the best of a column.", Table(columns, rows))


def _bare(sources: list[Source]) -> Exhibit:
    columns = [Column("run"), Column("method"), Column("data"), Column("images", "count")]
    columns.append(Column("natural accuracy (base, no noise)", "share", "max"))
    rows = []
    for source in sources:
        images = _first(source)
        rows.append([source.name, source.method, data_name(source, images), images.total, natural(source)])
    return Exhibit("overview-uncertified", "Natural accuracy of runs that hold no certificates.", Table(columns, rows))


def _first(source: Source) -> Images:
    return source.clean[0] if source.clean else source.attacked[0].images
