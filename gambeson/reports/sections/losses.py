"""The same attack with different losses: where they differ by much, the loss stood in the way."""

import json
from collections.abc import Sequence
from typing import Any

from gambeson.reports.empirical import short_name
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.grouping import data_name
from gambeson.reports.naming import file_stem, radius_name, target_name
from gambeson.reports.series import Attacked, Source
from gambeson.reports.shares import Share
from gambeson.reports.tables import Column, Table

Found = tuple[Source, Attacked]


def losses(sources: Sequence[Source]) -> Section | None:
    """One table of the attacks that were run with several losses on the same images."""
    groups: dict[str, dict[str, Found]] = {}
    for source in sources:
        for attacked in source.attacked:
            if attacked.settings["eps"] and (loss := attacked.settings.get("loss")):
                groups.setdefault(_same(source, attacked), {})[loss] = source, attacked
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        return None
    text = [
        "One attack, the same starts and images, with one loss or another in it. Cross-entropy sees every class, the "
        "margin the likeliest other one, DLR no scale of the logits: where one is much stronger than another, that one "
        "was held up by the model's scale or by a gradient too small to follow.",
    ]
    return Section("losses", "What attacks climb", text, [_table(several)])


def _same(source: Source, attacked: Attacked) -> str:
    settings = {**attacked.settings, "loss": None}
    return json.dumps([str(source.path), settings, sorted(attacked.images.index.tolist())], sort_keys=True)


def _table(groups: Sequence[dict[str, Found]]) -> Exhibit:
    names = list(dict.fromkeys(loss for group in groups for loss in group))
    columns = [Column("run"), Column("images", "count"), Column("data"), Column("target"), Column("attack")]
    columns += [Column("norm"), Column("eps"), *(Column(f"accuracy, {name}", "accuracy") for name in names)]
    columns += [Column("strongest to weakest", "setting"), Column("worst of all", "accuracy")]
    rows: list[list[Any]] = []
    for group in groups:
        source, first = next(iter(group.values()))
        images, settings = first.images, first.settings
        at = {loss: Share(attacked.images.right, images.total) for loss, (_, attacked) in group.items()}
        held = [set(attacked.images.index[attacked.images.correct].tolist()) for _, attacked in group.values()]
        head = [source.name, images.total, data_name(source, images), target_name(first), short_name(settings)]
        spread = max(share.value for share in at.values()) - min(share.value for share in at.values())
        worst = Share(len(set.intersection(*held)), images.total)
        shares = (at.get(name) for name in names)
        rows.append([*head, settings["norm"], radius_name(settings["eps"]), *shares, spread, worst])
    return Exhibit(file_stem("losses"), "Accuracy under one attack with different losses.", Table(columns, rows))
