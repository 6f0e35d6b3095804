"""Published numbers in columns of their own, beside what this report measured under the same noise and bound."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gambeson.reports.curves import counts_at
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.grouping import dataset_of, natural
from gambeson.reports.naming import bound, budget, file_stem
from gambeson.reports.references import Reference, references
from gambeson.reports.series import Certified, Source
from gambeson.reports.shares import Share
from gambeson.reports.subsets import joined, subset_name
from gambeson.reports.tables import Column, Table


def published(sources: Sequence[Source]) -> Section | None:
    """One table per data set of the sources that has published numbers under a noise of the sources, or of any
    noise."""
    datasets = dict.fromkeys(dataset_of(source, sources) for source in sources)
    noises = {series.noise for source in sources for series in source.certified}
    exhibits = []
    for dataset in datasets:
        here = [source for source in sources if dataset_of(source, sources) == dataset]
        shown = [ref for ref in references() if ref.dataset == dataset and (ref.noise is None or ref.noise in noises)]
        if shown and any(source.certified for source in here):
            exhibits.append(_exhibit(str(dataset), shown, here))
    if not exhibits:
        return None
    text = [
        "Published numbers were not measured here. They are from other models, other training and often other "
        "images; the column 'sound' says whether the statistics behind them hold.",
    ]
    return Section("published", "Published numbers", text, exhibits)


def _exhibit(dataset: str, shown: Sequence[Reference], here: Sequence[Source]) -> Exhibit:
    columns = [
        *(Column("published method"), Column("published model"), Column("noise"), Column("bound")),
        *(Column("l2 radius", "setting"), Column("published certified accuracy", "accuracy"), Column("sound")),
        *(
            Column("this report: certified accuracy", "share"),
            Column("this report: run"),
            Column("this report: images"),
        ),
        Column("this report: model"),
        Column("this report: natural accuracy (base, no noise)", "accuracy"),
        *(Column("published draws n", "count"), Column("published 1 − alpha", "setting")),
        *(Column("published images", "count"), Column("source"), Column("table"), Column("verified in")),
        Column("correction"),
    ]
    rows = [row for ref in shown for row in _rows(ref, here)]
    text = f"Published certified accuracies on {dataset}, l2 norm, and this report's under the same noise and bound."
    return Exhibit(file_stem("published", dataset), text, Table(columns, rows))


def _rows(ref: Reference, here: Sequence[Source]) -> list[list[Any]]:
    """One row per radius and comparable run of ours; one without ours where there is none."""
    matches = [(source, series) for source in here for series in source.certified if _comparable(ref, source, series)]
    told = [ref.draws, None if ref.alpha is None else 1 - ref.alpha, ref.images, ref.source, ref.table, ref.verified]
    certificate = bound(ref.certificate) if ref.certificate else None
    rows = []
    for radius, accuracy in zip(ref.radii, ref.accuracy, strict=True):
        ours: list[list[Any]] = [
            [
                *(_share(series, radius), joined(source.name, budget(series)), subset_name(series.images)),
                *(source.header.get("model"), natural(source, series.images)),
            ]
            for source, series in matches
        ]
        head = [ref.method, ref.model, ref.noise, certificate, radius, accuracy, ref.sound]
        rows += [[*head, *measured, *told, ref.correction] for measured in ours or [[None] * 5]]
    return rows


def _comparable(ref: Reference, source: Source, series: Certified) -> bool:
    same = (ref.ours, ref.noise, ref.certificate, ref.norm) == (
        source.method,
        series.noise,
        series.certificate,
        series.norm,
    )
    return same and ref.noise is not None


def _share(series: Certified, radius: float) -> Share:
    return Share(int(counts_at(series, np.array([radius]))[0]), series.images.total)
