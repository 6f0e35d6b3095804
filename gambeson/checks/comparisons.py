"""Attacks that a run has recorded, image by image against each other, on equal terms."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gambeson.attacks import BLACK_BOX
from gambeson.checks.check import Count
from gambeson.checks.thresholds import LEAST
from gambeson.of_eps import of_eps
from gambeson.records import Run

Line = dict[str, Any]
# (index, hash) of an image -> whether an attack broke it; None: it had no chance to
Fell = dict[tuple[int, str], bool | None]
_TERMS = ("target", "norm", "eps", "noise", "form", "targeted", "targets_hash")  # of what is compared


@dataclass(frozen=True)
class _Broken:
    """What one attack broke: an evaluation's, or the `place`-th member's of a suite."""

    evaluation: str
    place: int
    terms: Line
    attack: str
    scores: bool  # whether its gradients are estimated from scores
    fell: Fell
    options: Line

    @property
    def blind(self) -> bool:
        """To gradients."""
        return self.scores or self.attack in BLACK_BOX

    @property
    def less(self) -> str | None:
        """What it should have spent, where it did not: then it finds nothing because it did not look."""
        of = {"random_noise": ("draws", "noise_draws"), "square": ("queries",) * 2, "boundary": ("queries",) * 2}
        option, budget = of.get(self.attack, ("", ""))
        if not option or self.options.get(option, 0) >= LEAST[budget]:
            return None
        return f"{self.attack} with at least {LEAST[budget]:,} {option}"


def one_step(run: Run) -> tuple[Count, ...]:
    """Images that FGSM breaks and PGD does not."""
    return _against(run, lambda one: one.attack == "fgsm", lambda one: one.attack == "pgd")


def black_boxes(run: Run) -> tuple[Count, ...]:
    """Images that an attack without gradients breaks and none with them does, whatever their budgets."""
    return _against(run, lambda one: one.blind and one.attack != "random_noise", lambda one: not one.blind)


def random_noise(run: Run) -> tuple[Count, ...]:
    return _against(run, lambda one: one.attack == "random_noise", lambda one: not one.blind)


def growing_eps(run: Run) -> tuple[Count, ...]:
    """Images that fall at one eps and not at the next larger one, to the same attack with steps in proportion."""
    groups: dict[str, dict[float, Fell]] = {}
    for evaluation in run.evaluations("attacked"):
        settings, records = evaluation["settings"], run.records(evaluation["id"])
        if settings["eps"] and len(records) == evaluation["examples"]:
            others = {name: value for name, value in of_eps(settings, settings["eps"]).items() if name != "eps"}
            same = json.dumps([others, evaluation["data"]], sort_keys=True)
            groups.setdefault(same, {})[settings["eps"]] = _fell(settings, records)
    counts = []
    for at in groups.values():
        for (low, before), (high, after) in pairwise(sorted(at.items())):
            shown = {key: _shows(fell, after[key]) for key, fell in before.items() if key in after}
            counts += _counts(shown, f"eps {low:.4g} and {high:.4g}")
    return tuple(counts)


def rounded(run: Run) -> tuple[Count, ...]:
    """Images that an attack in a ball broke and that fool no more once they are saved. (An attack that stops at its
    first success or looks for the smallest perturbation ends at the boundary, from which little moves an image back.)
    """
    counts = []
    for evaluation in run.evaluations("attacked"):
        settings, records = evaluation["settings"], run.records(evaluation["id"])
        known = [record for record in records if record.get("predict_rounded") is not None]
        stops = settings.get("early_stop", (settings.get("options") or {}).get("early_stop"))
        if settings["eps"] and known and stops is False:
            fell = [r for r, hit in zip(known, _fell(settings, known).values(), strict=True) if hit]
            bad = sum(r["predict_rounded"] != r["target"] if settings.get("targeted")
                      else r["predict_rounded"] == r["label"] for r in fell)  # fmt: skip
            where = f"{settings['attack']}, {settings['norm']} eps {settings['eps']:.4g}"
            counts.append(Count(bad, len(fell), len(known), where))
    return tuple(counts)


def _against(run: Run, weaker: Callable[[_Broken], bool], stronger: Callable[[_Broken], bool]) -> tuple[Count, ...]:
    """For each ball: images that a `weaker` attack breaks and none that is `stronger` does, one step alone being none.

    Of one suite, what ran after the weaker one is left out: it was given what that one had left, and can only agree.
    """
    found, shown, less = list(_broken(run)), dict[str, Fell](), dict[str, str | None]()
    for one in filter(weaker, found):
        others = [
            other for other in found if stronger(other) and other.terms == one.terms
            and (other.evaluation != one.evaluation or other.place < one.place)
        ]  # fmt: skip
        if all(other.attack == "fgsm" for other in others):
            continue
        missed = _either(other.fell for other in others)
        pairs = {key: _shows(fell, missed[key]) for key, fell in one.fell.items() if key in missed}
        where = f"{one.terms['norm']} eps {one.terms['eps']:.4g}" + (
            f", {one.terms['noise']}" if one.terms["noise"] else ""
        )
        shown[where] = _either([shown.get(where, {}), pairs])
        less[where] = less.get(where, one.less) and one.less  # one that looked is enough
    return tuple(count._replace(less=less[where]) for where, pairs in shown.items() for count in _counts(pairs, where))


def _broken(run: Run) -> Iterator[_Broken]:
    """Every attack in a ball. One for the smallest perturbation has none: its distances are judged at the eps of the
    others.
    """
    evaluations = [(e["id"], e["settings"], run.records(e["id"])) for e in run.evaluations("attacked")]
    balls = {(s["norm"], s["eps"]) for _, s, _ in evaluations if s["eps"]}
    for name, settings, records in evaluations:
        terms = {term: settings.get(term) for term in _TERMS}
        terms["seed"] = settings["seed"] if settings.get("targeted") == "random" else None
        scores = settings.get("gradient") == "stein"
        fell, attack, options = _fell(settings, records), settings["attack"], settings.get("options") or {}
        if settings["eps"] is None:
            near = {_key(record): record["distance"] for record in records}
            for norm, eps in sorted(balls):
                if norm == settings["norm"]:
                    inside = {key: found and near[key] <= eps for key, found in fell.items()}
                    yield _Broken(name, 0, {**terms, "eps": eps}, attack, scores, inside, options)
        elif settings["eps"] > 0 and not settings.get("members"):
            yield _Broken(name, 0, terms, attack, scores, fell, options)
        elif settings["eps"] > 0:
            names = [member["name"] for member in settings["members"]]
            for place, member in enumerate(settings["members"]):
                left = (None, *names[place:])
                broke = {_key(r): r["broken_by"] == names[place] if r["broken_by"] in left else None for r in records}
                yield _Broken(name, place, terms, member["attack"], scores, broke, member["options"])


def _fell(settings: Line, records: Iterable[Line]) -> Fell:
    """An abstention is not enough; what is misclassified as it is had no chance."""
    hit = (
        record["success"] if settings.get("targeted") else record["predict"] not in (record["label"], -1)
        for record in records
    )
    return {_key(r): fell if r["predict_clean"] == r["label"] else None for r, fell in zip(records, hit, strict=True)}


def _key(record: Line) -> tuple[int, str]:
    return record["index"], record["hash"]


def _shows(weak: bool | None, strong: bool | None) -> bool | None:
    """Whether an image falls to the weak one only; None where the strong one broke it, or either had no chance."""
    return None if strong is not False else weak


def _either(found: Iterable[Fell]) -> Fell:
    every: Fell = {}
    for one in found:
        for key, fell in one.items():
            before = every.get(key)
            every[key] = fell if before is None else before or bool(fell)
    return every


def _counts(shown: Fell, where: str) -> list[Count]:
    able = [found for found in shown.values() if found is not None]
    return [Count(sum(able), len(able), len(shown), where)] if shown else []
