"""A figure of certified accuracy against radius, with the attacks of the same smoothed classifiers beside it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gambeson.reports.charts import Chart, Line, Mark, caption
from gambeson.reports.curves import counts_at, grid, steps
from gambeson.reports.empirical import Curve, attack_name, card_key, curves, xy
from gambeson.reports.exhibits import Exhibit
from gambeson.reports.grouping import Entry, data_name, natural
from gambeson.reports.naming import NOT_STATED, bound, budget, certified_name, radius_name, two_sided
from gambeson.reports.numbers import down, short
from gambeson.reports.shares import Share
from gambeson.reports.styling import told_apart
from gambeson.reports.subsets import alike, differing, images_name, joined
from gambeson.reports.tables import Column, Table


def radius_exhibit(
    stem: str,
    title: str,
    entries: Sequence[Entry],
    *,
    tint: dict[str, int],
    numbers: dict[str, str],
    dataset: str | None,
) -> Exhibit:
    """Chart and table of `entries`, all of one norm. `tint` gives colours by the name of a series or of its run, and
    `numbers` those of the attack cards.

    What all entries share (run, noise, bound) is said once, in the title; the lines are named by what differs, and
    by their images where not all are about the same.
    """
    norm = entries[0][1].norm
    attacks = attacks_on(entries)
    shared = [len(set(parts)) == 1 for parts in zip(*map(_parts, entries), strict=True)]
    title = ", ".join([title, *(part for part, same in zip(_parts(entries[0]), shared, strict=True) if same and part)])
    named = [[part for part, same in zip(_parts(entry), shared, strict=True) if not same] for entry in entries]
    images = differing([*(series.images for _, series in entries), *(curve.images for curve in attacks)])
    names = _distinct([joined(*parts, "certified", of) for parts, of in zip(named, images, strict=False)], entries)
    lines, corners = [], []
    for entry, name in zip(entries, names, strict=True):
        own = tint.get(certified_name(*entry))
        colour = tint.get(entry[0].name, 0) if own is None else own
        dash = 1 if own is not None and two_sided(entry[1]) else 0  # so that the line it nearly covers shines through
        radius, accuracy = steps(entry[1])
        corners += [[name, *corner] for corner in zip(radius, accuracy, strict=True)]
        fallen = np.append(radius, radius[-1]), np.append(accuracy, 0.0)
        lines.append(Line(name, *fallen, "steps", colour, dash))
    for curve, of in zip(attacks, images[len(entries) :], strict=True):
        parts = (curve.source.name, str(curve.card["noise"]))
        attack = f"under {attack_name(curve)} ({numbers[card_key(curve)]})"
        name = joined(*(part for part, same in zip(parts, shared, strict=False) if not same), attack, of)
        lines.append(Line(name, *xy(curve), "markers", tint.get(curve.source.name, len(entries))))
    chart = Chart(
        title=title,
        x_label=f"{norm} radius{' or eps' if attacks else ''} (pixels in [0, 1])",
        y_label="accuracy (fraction of all images)",
        lines=told_apart(lines),
        marks=_marks(entries, tint),
    )
    columns = [Column("curve"), Column(f"{norm} radius", "radius"), Column("certified accuracy up to it", "accuracy")]
    table = _table(entries, attacks, numbers, dataset)
    return Exhibit(stem, caption(chart, _note(entries)), table, chart, steps=Table(columns, corners))


def _parts(entry: Entry) -> tuple[str, ...]:
    source, series = entry
    return source.name, series.noise or f"noise {NOT_STATED}", bound(series.certificate), budget(series)


def _distinct(names: list[str], entries: Sequence[Entry]) -> list[str]:
    """The names; with draws, alpha and the evaluation's id where a run was certified again on the same images."""
    return [
        joined(name, f"n {short(series.draws)}, alpha {short(series.alpha)}, {series.evaluation}")
        if names.count(name) > 1
        else name
        for name, (_, series) in zip(names, entries, strict=True)
    ]


def attacks_on(entries: Sequence[Entry]) -> list[Curve]:
    """Attacks on exactly these smoothed classifiers, in the same norm."""
    found = []
    for source, noise, norm in dict.fromkeys((source, series.noise, series.norm) for source, series in entries):
        found += [
            curve for curve in curves(source) if (curve.card["target"], curve.card["noise"]) == ("smoothed", noise)
        ]
        found = [curve for curve in found if curve.norm == norm]
    return found


def _marks(entries: Sequence[Entry], tint: dict[str, int]) -> list[Mark]:
    """The largest radius that n and alpha allow, or that was asked for, once for each bound and value, coloured where
    its bound has a colour."""
    found: dict[str, Mark] = {}
    for source, series in entries:
        if series.max_radius is not None and np.isfinite(series.max_radius):
            what = "largest of the grid" if series.grid is not None else "largest possible"
            name = f"{what}, {bound(series.certificate)}: {down(series.max_radius)}"
            found.setdefault(name, Mark(name, series.max_radius, tint.get(certified_name(source, series))))
    return list(found.values())


def _table(entries: Sequence[Entry], attacks: Sequence[Curve], numbers: dict[str, str], dataset: str | None) -> Table:
    norm = entries[0][1].norm
    radii = {radius for _, series in entries for radius in grid(series, dataset)}
    points = sorted(radii | {point.eps for curve in attacks for point in curve.points})
    columns = [
        *(Column("run"), Column("images", "count"), Column("data"), Column("what")),
        Column("natural accuracy (base, no noise)", "accuracy"),
        *(Column(f"accuracy, {norm} {radius_name(radius)}", "accuracy", "max") for radius in points),
        *(Column("noise"), Column("1 − alpha per image", "setting"), Column("draws n", "count")),
    ]
    rows: list[list[Any]] = []
    for source, series in entries:
        total, confidence = series.images.total, None if series.alpha is None else 1 - series.alpha
        shares = [Share(int(count), total) for count in counts_at(series, np.array(points))]
        what = joined("certified", bound(series.certificate), budget(series))
        head = [source.name, total, data_name(source, series.images), what, natural(source, series.images)]
        rows.append([*head, *shares, series.noise, confidence, series.draws])
    for curve in attacks:
        at = {point.eps: point.share for point in curve.points}
        attack = f"under {attack_name(curve)} ({numbers[card_key(curve)]})"
        of = [curve.images.total, data_name(curve.source, curve.images)]
        head = [curve.source.name, *of, attack, natural(curve.source, curve.images)]
        rows.append([*head, *map(at.get, points), curve.card["noise"], None, None])
    certified = alike([series.images for _, series in entries])
    return Table(columns, rows, [*certified, *[None] * len(attacks)])


def _note(entries: Sequence[Entry]) -> str:
    totals = sorted({series.images.total for _, series in entries})
    halves = [Share(total // 2, total) for total in totals]
    widest = max(max(half.interval[1] - half.value, half.value - half.interval[0]) for half in halves)
    images = " or ".join(map(images_name, totals))
    return f"{images}: the 95% interval of an accuracy reaches at most {widest:.3f} to a side."
