"""Certified accuracy below, accuracy under attack above: what may be said of the two, and both on the same images."""

from collections.abc import Sequence

from gambeson.reports.empirical import Curve, card_key
from gambeson.reports.exhibits import Exhibit
from gambeson.reports.grouping import Entry, by_data_and_norm, natural
from gambeson.reports.matching import matched
from gambeson.reports.naming import certified_name, file_stem, tight
from gambeson.reports.radius_exhibit import attacks_on
from gambeson.reports.series import Source
from gambeson.reports.shares import Share
from gambeson.reports.subsets import alike, differing, joined
from gambeson.reports.tables import Column, Table


def attacked_too(figures: Sequence[Sequence[Entry]]) -> str | None:
    """How to read the attacks beside the certified curves; an order of the two is claimed only where in every figure
    all curves are about the same images."""
    drawn = [(entries, attacks_on(entries)) for entries in figures]
    drawn = [(entries, attacks) for entries, attacks in drawn if attacks]
    if not drawn:
        return None
    text = (
        "Points are the accuracy of the same smoothed classifier under attack in the same norm (A1, A2, ... are attack "
        f"cards). Attacks are real-valued, the curves hold on the pixel lattice: {_lower(drawn)} "
    )
    if all(len(set(alike([*(s.images for _, s in entries), *(c.images for c in at)]))) == 1 for entries, at in drawn):
        return text + (
            "All curves of a figure are about the same images: up to alpha, the true robust accuracy against "
            "real-valued adversaries lies between that lower certified accuracy and the accuracy under attack, where "
            "an abstention under attack is no proof of an error."
        )
    return (
        text
        + "Where a legend states images, curves and points are about different images: no order of them is implied."
    )


def _lower(drawn: Sequence[tuple[Sequence[Entry], Sequence[Curve]]]) -> str:
    """By how much the certified radii shrink against real-valued adversaries."""
    series = [series for entries, _ in drawn for _, series in entries]
    known = sorted({(s.norm, s.rounding_distance) for s in series if s.rounding_distance is not None})
    by = " or ".join(f"{distance:.4g} ({norm})" for norm, distance in known)
    return (
        "against real-valued adversaries the certified curve is lower, each of its radii smaller by at most the "
        f"rounding distance{', ' + by if by else ''}."
    )


def both(sources: Sequence[Source], numbers: dict[str, str]) -> list[Exhibit]:
    """One table per data set and norm: both accuracies at the eps of each attack, on the images that both saw."""
    exhibits = []
    for (dataset, norm), entries in by_data_and_norm(sources).items():
        apart = differing([series.images for _, series in entries])
        rows = [row for entry, of in zip(entries, apart, strict=True) for row in _rows(entry, of, numbers)]
        if rows:
            exhibits.append(_exhibit(file_stem("both", dataset, norm), norm, rows))
    return exhibits


def _rows(entry: Entry, of: str, numbers: dict[str, str]) -> list[list[object]]:
    source, series = entry
    if series.radius_real is None or not tight(series):
        return []
    rows: list[list[object]] = []
    for curve in attacks_on([entry]):
        for attacked in (point.attacked for point in curve.points if point.attacked is not None):
            match = matched(series.images, attacked.images)
            if isinstance(match, str):
                continue
            left, right, _ = match
            eps, total = attacked.settings["eps"], len(left)
            held = series.images.correct & (series.images.predict != -1) & (series.radius_real >= eps)
            certified, correct = held[left], attacked.images.correct[right]
            abstained = attacked.images.predict[right] == -1
            counts = [certified, correct, abstained, ~correct & ~abstained]
            shares = [Share(int(where.sum()), total) for where in counts]
            wrong = int((certified & ~correct & ~abstained).sum())
            head = [joined(certified_name(*entry), of), total, numbers[card_key(curve)], eps]
            rows.append([*head, *shares, wrong, natural(source, attacked.images)])
    return rows


def _exhibit(stem: str, norm: str, rows: list[list[object]]) -> Exhibit:
    columns = [
        *(Column("run"), Column("images", "count"), Column("attack card"), Column(f"{norm} eps", "setting")),
        *(Column("certified at eps, real-valued", "share"), Column("correct under attack", "share")),
        *(Column("abstained under attack", "share"), Column("wrong under attack", "share")),
        Column("certified at eps, yet wrong", "count"),
        Column("natural accuracy (base, no noise)", "share"),
    ]
    text = (
        f"Certified accuracy against real-valued adversaries beside accuracy under attack, {norm} norm, on the images "
        "that both saw. Up to alpha, no certified image is wrong under attack: certified accuracy is at most correct "
        "plus abstained (an attacked image may lie too near a decision boundary for the draws of its prediction)."
    )
    return Exhibit(stem, text, Table(columns, rows))
