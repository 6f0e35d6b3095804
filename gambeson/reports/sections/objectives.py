"""What attacks on a smoothed classifier climb: how many draws, the same or new ones, which objective and gradient."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from gambeson.reports.charts import Chart, Line, caption
from gambeson.reports.empirical import short_name
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.grouping import data_name
from gambeson.reports.naming import file_stem, radius_name, target_name
from gambeson.reports.series import Attacked, Source
from gambeson.reports.shares import Share
from gambeson.reports.styling import colours, told_apart
from gambeson.reports.tables import Column, Table

VARYING = ("attack_draws", "redraw", "order", "gradient")
OBJECTIVES = {"log_of_mean": "log of the mean", "mean_of_log": "mean of the log"}
Found = tuple[Source, Attacked]


def objectives(sources: Sequence[Source]) -> Section | None:
    """One figure for each attack that was run in several of these ways on the same images."""
    groups: dict[str, list[Found]] = {}
    for source in sources:
        for attacked in source.attacked:
            if attacked.settings["target"] == "smoothed":
                groups.setdefault(_same(source, attacked), []).append((source, attacked))
    several = [group for group in groups.values() if len({_how(found) for found in group}) > 1]
    if not several:
        return None
    text = [
        "SmoothAdv climbs the log of the mean probability over draws; the mean of the log is the usual expectation "
        "over transformations, another function. Accuracy is that of the vote on fresh draws, which neither sees: "
        "lower is the stronger attack.",
    ]
    tint = colours(sources)
    exhibits = [_exhibit(group, tint) for group in several]
    return Section("objectives", "What attacks on smoothed classifiers climb", text, exhibits)


def _same(source: Source, attacked: Attacked) -> str:
    """What is the same in all ways; the order mean_of_log has a loss of its own in place of the cross-entropy."""
    settings = {name: value for name, value in attacked.settings.items() if name not in VARYING}
    settings["options"] = dict(settings.get("options") or {})
    for place in (settings, settings["options"]):
        if place.get("loss") == "log_probability":
            place["loss"] = "cross_entropy"
    return json.dumps([str(source.path), settings, sorted(attacked.images.index.tolist())], sort_keys=True)


def _exhibit(group: Sequence[Found], tint: dict[str, int]) -> Exhibit:
    source, first = group[0]
    ordered = sorted(group, key=lambda found: (_variant(found), found[1].settings["attack_draws"]))
    variants = dict.fromkeys(_variant(found) for found in ordered)
    lines = []
    for variant in variants:
        points = [found for found in ordered if _variant(found) == variant]
        draws = np.log2([attacked.settings["attack_draws"] for _, attacked in points])
        held = np.array([attacked.images.right / attacked.images.total for _, attacked in points])
        lines.append(Line(variant, draws, held, "points", tint[source.name]))
    settings = first.settings
    ball = settings["norm"] + ("" if settings["eps"] is None else f" eps {radius_name(settings['eps'])}")
    loss = {**(settings.get("options") or {}), **settings}.get("loss")
    ball += "" if loss in (None, "cross_entropy", "log_probability") else f", {loss}"
    about = f"{source.name}, {target_name(first)}, {short_name(settings)}, {ball}"
    every = sorted({attacked.settings["attack_draws"] for _, attacked in group})
    chart = Chart(
        title=f"Accuracy of the vote against draws inside the attack, {about}",
        x_label="draws inside the attack (logarithmic)",
        y_label="accuracy (fraction of all images)",
        lines=told_apart(lines),
        x_ticks=[(float(np.log2(count)), str(count)) for count in every],
    )
    columns = [
        *(Column("run"), Column("target"), Column("attack"), Column("images", "count"), Column("data")),
        *(Column("objective, draws and gradient"), Column("draws inside the attack", "count")),
        *(Column(name, "share") for name in ("correct", "wrong", "abstained")),
        Column("fools its own draws", "share"),
    ]
    rows: list[list[Any]] = []
    for _, attacked in ordered:
        images = attacked.images
        counts = images.right, images.wrong, images.abstained, int(attacked.success.sum())
        head = [source.name, target_name(attacked), f"{short_name(settings)}, {ball}", images.total]
        shares = (Share(count, images.total) for count in counts)
        rows.append([*head, data_name(source, images), *_how((source, attacked)), *shares])
    stem = file_stem("objectives", source.name, settings["noise"], short_name(settings), ball)
    return Exhibit(stem, caption(chart), Table(columns, rows), chart)


def _variant(found: Found) -> str:
    settings = found[1].settings
    draws = "new draws" if settings["redraw"] else "the same draws"
    stein = ", Stein's estimator" if settings.get("gradient") == "stein" else ""
    return f"{OBJECTIVES[settings.get('order', 'log_of_mean')]}, {draws}{stein}"


def _how(found: Found) -> tuple[str, int]:
    return _variant(found), int(found[1].settings["attack_draws"])
