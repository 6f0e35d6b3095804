"""Accuracy under attack against eps, from 0: one curve per run, target and attack setting."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gambeson.of_eps import STEP, of_eps
from gambeson.reports.series import Attacked, Images, Source
from gambeson.reports.shares import Share

SEVERAL_LOSSES = ("fgsm", "pgd", "apgd")  # attacks that are run on one or another, the cross-entropy unless said

GRADIENTS_FIRST = ("weak", "paper")  # suites that never run without; the others have apgd_ce then


@dataclass(frozen=True, eq=False)
class Point:
    """What became of the images at one eps; at eps 0, on clean images by the same rule, `attacked` is None."""

    eps: float
    right: int
    wrong: int
    abstained: int
    total: int
    attacked: Attacked | None

    @property
    def share(self) -> Share:
        return Share(self.right, self.total)


@dataclass(frozen=True, eq=False)
class Curve:
    """One attack on one target of one run, along eps; `card` holds every setting but eps."""

    source: Source
    card: dict[str, Any]
    images: Images
    points: tuple[Point, ...]

    @property
    def norm(self) -> str:
        return str(self.card["norm"])


def curves(source: Source) -> list[Curve]:
    """The attacks of a run, those that differ only in eps joined; eps 0 is the accuracy on the same, clean images."""
    groups: dict[str, list[Attacked]] = {}
    in_balls = [attacked for attacked in source.attacked if attacked.settings["eps"] is not None]
    unmoved = [attacked for attacked in in_balls if attacked.settings["eps"] == 0]
    for attacked in in_balls:
        if attacked.settings["eps"] > 0:
            groups.setdefault(_key(attacked), []).append(attacked)
    for attacked in unmoved:  # without room no step is taken: it belongs to every curve that is alike but for the steps
        alike = [group for group in groups.values() if _key(group[0], step=False) == _key(attacked, step=False)]
        for group in alike or [groups.setdefault(_key(attacked), [])]:
            group.append(attacked)
    return [_curve(source, group) for group in groups.values()]


def _key(attacked: Attacked, step: bool = True) -> str:
    images = attacked.images
    return json.dumps([card(attacked, step), sorted(images.index.tolist()), sorted(images.hash or ())], sort_keys=True)


def card(attacked: Attacked, step: bool = True) -> dict[str, Any]:
    """All settings but eps; step sizes, if they are wanted, as fractions of eps, so that one card can serve a whole
    curve.
    """
    eps = attacked.settings["eps"]
    settings = of_eps(attacked.settings, eps if step else 0)
    for place in ("options", "of"):  # an attack's own, and those of what it runs
        settings |= {name if name not in settings else f"{name} ({place})": value
                     for name, value in (settings.pop(place, None) or {}).items()}  # fmt: skip
    members = settings.pop("members", None) or ()
    settings |= {"members": ", ".join(member["name"] for member in members)} if members else {}
    for member in members:
        settings[f"member {member['name']}"] = f"{member['attack']} ({_told(member['options'])})"
    kept = {name: value for name, value in settings.items() if name not in ("eps", STEP)}
    return {**kept, STEP: settings.get(STEP)}


def _told(options: Mapping[str, Any]) -> str:
    """In words; an inner attack with its own options, which are `of` it."""
    each = {name: value for name, value in options.items() if name != "of"}
    inner = {"inner": f"{each['inner']} ({_told(options['of'])})"} if "of" in options else {}
    return ", ".join(f"{name} {value}" for name, value in (each | inner).items())


def card_key(curve: Curve) -> str:
    return json.dumps(curve.card, sort_keys=True)


def numbered(sources: Sequence[Source]) -> dict[str, str]:
    """A1, A2, ... for each different attack card, in the order of the sources: the same number in every figure."""
    return card_numbers("A", (curve for source in sources for curve in curves(source)))


def card_numbers(letter: str, found: Iterable[Curve]) -> dict[str, str]:
    """The letter and a number for each different card."""
    keys = dict.fromkeys(card_key(curve) for curve in found)
    return {key: f"{letter}{place}" for place, key in enumerate(keys, start=1)}


def attack_name(curve: Curve) -> str:
    """The attack and its number of steps, and what else tells it from the usual: a loss, several restarts, a target."""
    card = curve.card
    loss = card.get("loss") if card["attack"] in SEVERAL_LOSSES and card.get("order") != "mean_of_log" else None
    extra = [] if loss in (None, "cross_entropy") else [loss.replace("_", " ")]
    extra += ["mean of the log"] if card.get("order") == "mean_of_log" else []
    extra += ["Stein's gradient"] if card.get("gradient") == "stein" else []
    extra += ["new draws each step"] if card.get("redraw") else []
    extra += [f"{card['restarts']} restarts"] if (card.get("restarts") or 1) > 1 else []
    extra += [f"targeted {card['targeted']}"] if card["targeted"] else []
    return ", ".join([short_name(card), *extra])


def short_name(settings: Mapping[str, Any]) -> str:
    """An attack's name with its number of steps, where it has one; a suite's with what its budget was cut to.

    >>> short_name({"attack": "pgd", "steps": 20})
    'pgd-20'
    >>> short_name({"attack": "standard", "members": "square", "share": 0.05})
    'standard without gradients (cut to 5 % of restarts and queries)'
    """
    steps = settings.get("steps") or (settings.get("options") or {}).get("steps")
    name = settings["attack"] + (f"-{steps}" if steps else "")
    if not settings.get("members"):
        return name
    full = settings["attack"] in GRADIENTS_FIRST or "apgd_ce" in str(settings["members"])
    cut = settings.get("share", 1.0)
    less = "" if cut == 1 else f" (cut to {100 * cut:.3g} % of restarts and queries)"
    return name + ("" if full else " without gradients") + less


def _curve(source: Source, group: Sequence[Attacked]) -> Curve:
    ordered = sorted(group, key=lambda attacked: attacked.settings["eps"])
    points = [
        Point(attacked.settings["eps"], images.right, images.wrong, images.abstained, images.total, attacked)
        for attacked in ordered
        for images in (attacked.images,)
    ]
    if points[0].eps > 0:
        points.insert(0, _clean(ordered[0]))
    return Curve(source, card(ordered[-1]), ordered[0].images, tuple(points))


def _clean(attacked: Attacked) -> Point:
    right = int((attacked.predict_clean == attacked.images.label).sum())
    abstained = int((attacked.predict_clean == -1).sum())
    total = attacked.images.total
    return Point(0.0, right, total - right - abstained, abstained, total, None)


def xy(curve: Curve) -> tuple[Any, Any]:
    return np.array([p.eps for p in curve.points]), np.array([p.share.value for p in curve.points])
