"""Do attacks have room left: success against steps and restarts, and how far the loss is from linear."""

from collections.abc import Sequence

import numpy as np

from gambeson.reports.charts import Chart, Line, caption
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.grouping import data_name
from gambeson.reports.naming import file_stem, radius_name
from gambeson.reports.series import Diagnosed, Source
from gambeson.reports.shares import Share
from gambeson.reports.styling import colours, told_apart
from gambeson.reports.tables import Column, Table

Found = tuple[Source, Diagnosed]
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
_RESTARTS = (1, 2, 5, 10, 20)


def diagnosed(sources: Sequence[Source]) -> Section | None:
    """Two figures and a table for each data set and norm."""
    groups: dict[tuple[str | None, str], list[Found]] = {}
    for source in sources:
        for found in source.diagnosed:
            groups.setdefault((source.dataset, found.settings["norm"]), []).append((source, found))
    if not groups:
        return None
    tint = colours(sources)
    text = [
        "A curve that still falls at its end says that the attack was stopped too early. gamma is the largest distance "
        "of the loss from its first-order expansion found in the ball (Qin et al. 2019): small where gradients "
        "tell the truth, so that an attack that follows them is to be believed. A search finds a lower bound of it.",
    ]
    exhibits = []
    for (dataset, norm), group in groups.items():
        stem = (dataset, norm)
        if climbed := [(source, found) for source, found in group if found.gradient]:
            exhibits.append(_figure("steps", _STEPS, climbed, stem, tint))
            exhibits.append(_figure("restarts", _RESTARTS, climbed, stem, tint))
        exhibits.append(_linearity(group, stem))
    return Section("diagnosed", "Have attacks converged, and is the loss linear?", text, exhibits)


def _figure(
    what: str, at: Sequence[int], group: Sequence[Found], stem: tuple[str | None, str], tint: dict[str, int]
) -> Exhibit:
    """Accuracy under attack against how many steps (or restarts) it has, on a logarithmic axis, as far as each went."""
    curves = [_curve(what, at, found) for _, found in group]
    shown = max((list(curve) for curve in curves), key=len)
    lines = [
        Line(_name(source, found), np.log10(list(curve)), np.array(list(curve.values())) / found.images.total, "points",
             tint[source.name])
        for curve, (source, found) in zip(curves, group, strict=True)
    ]  # fmt: skip
    unit = "PGD's steps of eps/10 on the cross-entropy" if what == "steps" else "random starts of PGD on the margin"
    chart = Chart(
        title=f"Accuracy under attack against {what}, {stem[1]}, {stem[0] or 'data not stated'}",
        x_label=f"{unit} (logarithmic)",
        y_label="accuracy (fraction of all images)",
        lines=told_apart(lines),
        x_ticks=[(float(np.log10(count)), str(count)) for count in shown],
    )
    columns = [Column("run"), Column("target"), Column("eps"), Column("images", "count"), Column("data")]
    columns += [Column(f"accuracy, {count} {what if count > 1 else what[:-1]}", "accuracy") for count in shown]
    rows = []
    for curve, (source, found) in zip(curves, group, strict=True):
        shares = (Share(curve[count], found.images.total) if count in curve else None for count in shown)
        rows.append([*_head(source, found), *shares])
    return Exhibit(file_stem(f"converged-{what}", *stem), caption(chart), Table(columns, rows), chart)


def _curve(what: str, at: Sequence[int], found: Diagnosed) -> dict[int, int]:
    """How many images hold out against so many."""
    after = found.after_steps if what == "steps" else found.after_restarts
    return {count: int((~(after <= count)).sum()) for count in at if count <= found.settings["budget"][what]}


def _linearity(group: Sequence[Found], stem: tuple[str | None, str]) -> Exhibit:
    columns = [
        *(Column("run"), Column("target"), Column("eps"), Column("images", "count"), Column("data")),
        Column("natural accuracy", "accuracy"), Column("accuracy under these attacks", "accuracy"),
        *(Column(f"gamma, {name}", "measured") for name in ("mean", "median", "95 %")),
        Column("loss, median", "measured"),
    ]  # fmt: skip
    rows = []
    for source, found in group:
        total = found.images.total
        gamma = found.gamma
        known = not bool(np.isnan(gamma).any())
        told = [float(gamma.mean()), float(np.median(gamma)), float(np.quantile(gamma, 0.95))] if known else [None] * 3
        head = [*_head(source, found), Share(found.images.right, total), Share(total - int(found.fell.sum()), total)]
        rows.append([*head, *told, float(np.median(found.loss)) if known else None])
    text = f"Distance of the cross-entropy from linear in the {stem[1]} ball, {stem[0] or 'data not stated'}, in nats."
    return Exhibit(file_stem("linearity", *stem), text, Table(columns, rows))


def _head(source: Source, found: Diagnosed) -> list[str | int]:
    settings = found.settings
    target = "base" if settings["noise"] is None else f"soft smoothed {settings['noise']}"
    return [source.name, target, radius_name(settings["eps"]), found.images.total, data_name(source, found.images)]


def _name(source: Source, found: Diagnosed) -> str:
    noise = "" if found.settings["noise"] is None else f", {found.settings['noise']}"
    return f"{source.name}{noise}, eps {radius_name(found.settings['eps'])}"
