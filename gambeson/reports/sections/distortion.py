"""Attacks for the smallest perturbation: how far images had to be moved, in the attack's own norm."""

from collections.abc import Sequence

import numpy as np

from gambeson.reports.charts import Chart, Line, caption
from gambeson.reports.empirical import Curve, card, card_key, card_numbers, short_name
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.grouping import data_name, natural
from gambeson.reports.naming import file_stem, target_name
from gambeson.reports.sections.cards import cards
from gambeson.reports.series import Array, Attacked, Source
from gambeson.reports.shares import Share
from gambeson.reports.styling import MOST_LINES, colours, told_apart
from gambeson.reports.subsets import alike, differing, joined
from gambeson.reports.tables import Column, Table

Found = tuple[Source, Attacked]


def distortion(sources: Sequence[Source]) -> Section | None:
    """One figure for each data set and norm: norms are never mixed, and nothing is turned into another's. Where several
    runs have many lines in one, one for each attack.
    """
    groups: dict[tuple[str | None, str], list[Found]] = {}
    for source in sources:
        for attacked in source.attacked:
            if attacked.settings["eps"] is None:
                groups.setdefault((source.dataset, attacked.settings["norm"]), []).append((source, attacked))
    if not groups:
        return None
    tint = colours(sources)
    text = [
        "The smallest perturbations that were found, an upper bound on those that exist. An image that is "
        "misclassified as it is has distance 0; one that no attack fooled has none, and keeps the curve up. These are "
        "no substitute for attacks in a fixed ball, which spend all their effort on one eps. Of smoothed classifiers "
        "the vote says who is fooled: these attacks end at the boundary that few draws have, where it mostly abstains.",
    ]
    known = {
        found: Curve(source, card(found), found.images, ()) for group in groups.values() for source, found in group
    }
    numbers = card_numbers("D", known.values())
    named = {found: numbers[card_key(curve)] for found, curve in known.items()}
    exhibits = [
        _exhibit(dataset, norm, of, part, tint, named)
        for (dataset, norm), group in groups.items()
        for of, part in _figures(group).items()
    ]
    exhibits.append(cards(list(known.values()), numbers, "distortion-cards"))
    return Section("distortion", "Smallest perturbations", text, exhibits)


def _figures(group: Sequence[Found]) -> dict[str | None, list[Found]]:
    if len(group) <= MOST_LINES or len({source.name for source, _ in group}) == 1:
        return {None: list(group)}
    parts: dict[str | None, list[Found]] = {}
    for source, found in group:
        parts.setdefault(short_name(found.settings), []).append((source, found))
    return parts


def _exhibit(
    dataset: str | None, norm: str, attack: str | None, group: Sequence[Found], tint: dict[str, int],
    named: dict[Attacked, str],
) -> Exhibit:  # fmt: skip
    images = [found.images for _, found in group]
    names = [
        joined(source.name, target_name(found), f"{short_name(found.settings)} ({named[found]})", of)
        for (source, found), of in zip(group, differing(images), strict=True)
    ]
    lines = [
        Line(name, *_curve(found), "steps", tint[source.name])
        for name, (source, found) in zip(names, group, strict=True)
    ]
    chart = Chart(
        title=joined(f"Images that hold out against {norm} distance", dataset or "data not stated", attack or ""),
        x_label=f"{norm} distance (pixels in [0, 1])",
        y_label="held out (fraction of all images)",
        lines=told_apart(lines),
    )
    columns = [
        *(Column("run"), Column("images", "count"), Column("data"), Column("target"), Column("attack")),
        Column("attack card"),
        *(Column("fooled", "share"), Column(f"{norm} distance, mean", "measured")),
        *(Column(f"{norm} distance, {share} %", "measured") for share in (5, 25, 50, 75, 95)),
        Column("natural accuracy (base, no noise)", "share"),
    ]
    rows = []
    for source, found in group:
        near = np.sort(found.distance[found.fooled])
        told = [None] * 6 if not len(near) else [float(near.mean()), *_quantiles(near)]
        head = [source.name, found.images.total, data_name(source, found.images), target_name(found)]
        share = Share(int(found.fooled.sum()), found.images.total)
        rows.append([*head, short_name(found.settings), named[found], share, *told, natural(source, found.images)])
    note = "Means and quantiles are over the images that were fooled."
    return Exhibit(
        file_stem("distortion", dataset, norm, attack), caption(chart, note), Table(columns, rows, alike(images)), chart
    )


def _quantiles(near: Array) -> list[float]:
    return [float(value) for value in np.quantile(near, (0.05, 0.25, 0.5, 0.75, 0.95))]


def _curve(found: Attacked) -> tuple[Array, Array]:
    """The share of images that are not fooled from nearer than each distance; at the end, of those never fooled."""
    near = np.sort(found.distance[found.fooled])
    at = np.unique(np.concatenate([[0.0], near]))
    fallen = np.append(np.searchsorted(near, at, side="left"), len(near))
    return np.append(at, at[-1]), 1 - fallen / found.images.total
