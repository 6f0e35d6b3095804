"""Accuracy under attack against eps, with what was wrong and what abstained, and every setting of every attack."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

from gambeson.reports.charts import Chart, Line, caption
from gambeson.reports.empirical import Curve, attack_name, card_key, curves, numbered, xy
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.grouping import data_name, natural
from gambeson.reports.naming import file_stem, radius_name
from gambeson.reports.sections.cards import cards
from gambeson.reports.sections.worst import worst
from gambeson.reports.series import Source
from gambeson.reports.shares import Share
from gambeson.reports.styling import MOST_LINES, colours, told_apart
from gambeson.reports.subsets import alike, differing, joined
from gambeson.reports.tables import Column, Table

BY_NOISE = 3  # of the keys below; the curves of a single run are divided no further
UNDEFENDED = "plain"


def attacked(sources: Sequence[Source]) -> Section | None:
    """Figures never mix norms or data sets; their curves start at eps 0, the accuracy on the same, clean images."""
    found = [curve for source in sources for curve in curves(source)]
    if not found:
        return None
    tint, numbers = colours(sources), numbered(sources)
    exhibits = []
    for parts, part in _figures(found).items():
        stem = file_stem("attacked", *parts)
        of = ", ".join(part for part in parts[2:] if part)
        exhibits.append(_figure(stem, part, of, tint, numbers))
        exhibits.append(_outcomes(file_stem("outcomes", *parts), part, of, numbers))
        if suites := [curve for curve in part if any(p.attacked and p.attacked.broken_by for p in curve.points)]:
            exhibits.append(_breakers(file_stem("broken-by", *parts), suites))
    exhibits += [exhibit for exhibit in (worst(sources), cards(found, numbers)) if exhibit]
    text = [
        "Accuracy under attack is an upper bound on robust accuracy: a stronger attack may lower it. At eps 0 it is "
        "the accuracy on the same images, unperturbed, under the same prediction rule. A1, A2, ... refer to the "
        "attack cards below. An abstention counts as not correct and is listed apart from wrong answers. 'Fooled "
        "what was attacked' is what the attack saw: of a smoothed classifier its own draws, where the answers are on "
        "fresh ones.",
    ]
    if all(curve.source.method not in (UNDEFENDED, None) for curve in found):
        text.append("No undefended model (method plain) is among the attacked runs: add one, as the yardstick.")
    return Section("attacked", "Accuracy under attack", text, exhibits)


def _figures(found: Sequence[Curve]) -> dict[tuple[str | None, ...], list[Curve]]:
    """Curves by data set and norm; where those are many, by target as well, by noise, and, to compare runs, by attack
    and last by what it was told.
    """
    keys: list[Callable[[Curve], tuple[str | None, ...]]] = [
        lambda c: (c.source.dataset, c.norm),
        lambda c: (c.source.dataset, c.norm, c.card["target"]),
        lambda c: (c.source.dataset, c.norm, c.card["target"], c.card["noise"]),
        lambda c: (c.source.dataset, c.norm, c.card["target"], c.card["noise"], c.card["attack"]),
        lambda c: (c.source.dataset, c.norm, c.card["target"], c.card["noise"], attack_name(c)),
    ]
    figures: dict[tuple[str | None, ...], list[Curve]] = {}
    rest = list(found)
    for place, key in enumerate(keys, start=1):
        parts: dict[tuple[str | None, ...], list[Curve]] = {}
        for curve in rest:
            parts.setdefault(key(curve), []).append(curve)
        rest = []
        for name, part in parts.items():
            runs = len({curve.source.name for curve in part})
            if len(part) <= MOST_LINES or place == len(keys) or (place == BY_NOISE and runs == 1):
                figures[name] = part
            else:
                rest += part
    return figures


def _figure(stem: str, part: Sequence[Curve], of: str, tint: dict[str, int], numbers: dict[str, str]) -> Exhibit:
    images = [curve.images for curve in part]
    names = [joined(_name(curve, numbers), of) for curve, of in zip(part, differing(images), strict=True)]
    lines = [Line(name, *xy(c), "points", tint[c.source.name]) for name, c in zip(names, part, strict=True)]
    norm, dataset = part[0].norm, part[0].source.dataset or "data not stated"
    chart = Chart(
        title=joined(f"Accuracy under attack against {norm} eps", dataset, of),
        x_label=f"{norm} eps (pixels in [0, 1])",
        y_label="accuracy (fraction of all images)",
        lines=told_apart(lines),
    )
    points = sorted({point.eps for curve in part for point in curve.points})
    columns = [Column("run"), Column("images", "count"), Column("data"), Column("target"), Column("attack")]
    columns += [Column("attack card"), Column("natural accuracy (base, no noise)", "accuracy")]
    comparable = len({card_key(curve) for curve in part}) == 1  # the best is marked only among equal attacks
    best: Literal["max"] | None = "max" if comparable else None
    columns += [Column(f"accuracy, {norm} eps {radius_name(eps)}", "accuracy", best) for eps in points]
    rows = []
    for curve in part:
        at = {point.eps: point.share for point in curve.points}
        rows.append(
            [
                curve.source.name,
                curve.images.total,
                data_name(curve.source, curve.images),
                _target(curve),
                attack_name(curve),
                numbers[card_key(curve)],
                natural(curve.source, curve.images),
                *(at.get(eps) for eps in points),
            ]
        )
    return Exhibit(stem, caption(chart), Table(columns, rows, alike(images)), chart)


def _target(curve: Curve) -> str:
    return "base" if curve.card["target"] == "base" else f"smoothed {curve.card['noise']}"


def _name(curve: Curve, numbers: dict[str, str]) -> str:
    return f"{curve.source.name}, {_target(curve)}, {attack_name(curve)} ({numbers[card_key(curve)]})"


def _outcomes(stem: str, part: Sequence[Curve], of: str, numbers: dict[str, str]) -> Exhibit:
    norm = part[0].norm
    columns = [
        *(Column("run"), Column("images", "count"), Column("data"), Column("target"), Column("attack card")),
        Column(f"{norm} eps", "setting"),
        *(Column("correct", "share"), Column("wrong", "share"), Column("abstained", "share")),
        *(
            Column("correct, saved as 8-bit images", "share"),
            Column("fooled what was attacked", "share"),
            Column(f"largest {norm} distance", "setting"),
        ),
        Column("natural accuracy (base, no noise)", "share"),
    ]
    rows = []
    for curve in part:
        base = natural(curve.source, curve.images)
        for point in curve.points:
            shares = [Share(count, point.total) for count in (point.right, point.wrong, point.abstained)]
            saved = (
                None
                if point.attacked is None or point.attacked.rounded is None
                else Share(int((point.attacked.rounded == point.attacked.images.label).sum()), point.total)
            )
            success = None if point.attacked is None else Share(int(point.attacked.success.sum()), point.total)
            farthest = None if point.attacked is None else float(point.attacked.distance.max())
            rows.append(
                [
                    curve.source.name,
                    point.total,
                    data_name(curve.source, curve.images),
                    _target(curve),
                    numbers[card_key(curve)],
                    point.eps,
                    *shares,
                    saved,
                    success,
                    farthest,
                    base,
                ]
            )
    text = joined("Correct, wrong and abstained under attack, as fractions of all images", f"{norm} norm", of) + "."
    return Exhibit(stem, text, Table(columns, rows))


def _breakers(stem: str, part: Sequence[Curve]) -> Exhibit:
    """Of suites: which attack broke how many images, each given what the ones before it had left."""
    names = dict.fromkeys(member["name"] for curve in part for point in curve.points if point.attacked
                          for member in point.attacked.settings.get("members") or ())  # fmt: skip
    columns = [Column("run"), Column("images", "count"), Column("data"), Column("target"), Column("attack")]
    columns += [Column(f"{part[0].norm} eps", "setting"), Column("wrong as they are", "count")]
    columns += [*(Column(name, "count") for name in names), Column("held out", "count")]
    rows: list[list[Any]] = []
    for curve in part:
        for point in curve.points:
            if point.attacked and (by := Counter(point.attacked.broken_by)):
                ran = [member["name"] for member in point.attacked.settings["members"]]
                head = [curve.source.name, point.total, data_name(curve.source, curve.images), _target(curve)]
                counts = [by[name] if name in ran else None for name in names]
                rows.append([*head, attack_name(curve), point.eps, by["clean"], *counts, by[None]])
    text = f"Images by the attack of a suite that broke them, {part[0].norm} norm, in the order in which they ran."
    return Exhibit(stem, text, Table(columns, rows))
