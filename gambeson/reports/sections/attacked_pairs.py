"""Runs compared two by two under one attack: same settings, same eps, same images."""

import json
from collections.abc import Sequence
from itertools import combinations

from gambeson.reports.differences import columns, difference
from gambeson.reports.empirical import Curve, card_key, curves, numbered
from gambeson.reports.exhibits import Exhibit
from gambeson.reports.matching import matched
from gambeson.reports.naming import file_stem, target_name
from gambeson.reports.series import Attacked, Source
from gambeson.reports.subsets import differing, joined
from gambeson.reports.tables import Column, Table

Rows = list[list[object]]


def attacked_pairs(sources: Sequence[Source]) -> tuple[list[Exhibit], list[str]]:
    """One table per data set and norm, the pairs of one attack card together; and why others are not paired.

    The card holds the target and its noise, so that base is compared with base, and one smoothing with the same. It
    also holds the inference form, which is a run's own, and may differ.
    """
    numbers = numbered(sources)
    attacks: dict[str, list[Curve]] = {}
    for curve in (curve for source in sources for curve in curves(source)):
        attacks.setdefault(json.dumps({**curve.card, "form": None}, sort_keys=True), []).append(curve)
    tables: dict[tuple[str | None, str], tuple[Rows, set[str]]] = {}
    skipped: list[str] = []
    for found in attacks.values():
        names = _names(found)
        for (a, name_a), (b, name_b) in combinations(zip(found, names, strict=True), 2):
            if a.source is b.source or a.source.dataset != b.source.dataset:
                continue
            number = " and ".join(dict.fromkeys(numbers[card_key(curve)] for curve in (a, b)))
            rows, ways = tables.setdefault((a.source.dataset, a.norm), ([], set()))
            for eps, left, right in _shared(a, b):
                match = matched(left.images, right.images)
                if isinstance(match, str):
                    skipped.append(f"{name_a} and {name_b} under attack {number} are not paired: {match}.")
                    continue
                i, j, how = match
                ways.add(how)
                cells = difference(
                    *((a.source, left.images), (b.source, right.images)),
                    *(left.images.correct[i], right.images.correct[j]),
                )
                rows.append([name_a, name_b, target_name(left), number, eps, *cells])
    exhibits = [_exhibit(*parts, rows, ways) for parts, (rows, ways) in tables.items() if rows]
    return exhibits, list(dict.fromkeys(skipped))  # one line for all eps


def _names(found: Sequence[Curve]) -> list[str]:
    """The runs; with their images where one run was attacked on several subsets."""
    runs = [curve.source.name for curve in found]
    apart = differing([curve.images for curve in found])
    return [joined(run, of if runs.count(run) > 1 else "") for run, of in zip(runs, apart, strict=True)]


def _shared(a: Curve, b: Curve) -> list[tuple[float, Attacked, Attacked]]:
    """What both curves measured, eps by eps; without eps 0, where nothing is attacked."""
    left, right = ({p.eps: p.attacked for p in curve.points if p.attacked and p.eps > 0} for curve in (a, b))
    return [(eps, left[eps], right[eps]) for eps in left if eps in right]


def _exhibit(dataset: str | None, norm: str, rows: Rows, ways: set[str]) -> Exhibit:
    head = [Column("a"), Column("b"), Column("target"), Column("attack card"), Column(f"{norm} eps", "setting")]
    text = (
        f"Paired differences of accuracy under attack, {norm} norm, each under one attack at one eps; "
        f"images matched by {' or by '.join(sorted(ways))}."
    )
    return Exhibit(file_stem("pairs-attacked", dataset, norm), text, Table([*head, *columns("correct")], rows))
