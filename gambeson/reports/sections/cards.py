"""Attack cards: every setting of every attack, since an accuracy under attack means nothing without them."""

from collections.abc import Iterable, Sequence

from gambeson.reports.empirical import Curve, card_key
from gambeson.reports.exhibits import Exhibit
from gambeson.reports.naming import radius_name
from gambeson.reports.tables import Column, Table


def cards(found: Sequence[Curve], numbers: dict[str, str], stem: str = "attack-cards") -> Exhibit:
    """One column per card, one row per setting; lists the eps and the runs that each card was used for."""
    users: dict[str, list[Curve]] = {}
    for curve in found:
        users.setdefault(card_key(curve), []).append(curve)
    names = list(dict.fromkeys(name for curves in users.values() for name in curves[0].card))
    rows = [[name, *(_text(curves[0].card.get(name)) for curves in users.values())] for name in names]
    if any(curve.points for curve in found):
        rows.append(["eps", *(_eps(curves) for curves in users.values())])
    rows.append(["images", *(_joined(str(curve.images.total) for curve in curves) for curves in users.values())])
    rows.append(
        ["which images", *(_joined(c.images.rule or "not stated" for c in curves) for curves in users.values())]
    )
    rows.append(["runs", *(_joined(curve.source.name for curve in curves) for curves in users.values())])
    columns = [Column("setting"), *(Column(f"attack card {numbers[key]}") for key in users)]
    text = "Attack cards: all settings of each attack. eps and step size are in pixel units, pixels in [0, 1]."
    return Exhibit(stem, text, Table(columns, rows))


def _eps(curves: Sequence[Curve]) -> str:
    return _joined(radius_name(eps) for eps in sorted({p.eps for curve in curves for p in curve.points if p.attacked}))


def _joined(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def _text(value: object) -> str:
    if value is None:
        return "does not apply"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(f"{part:g}" for part in value) + "]"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
