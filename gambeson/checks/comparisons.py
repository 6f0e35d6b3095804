"""Attacks that a run has recorded, image by image against each other, on equal terms."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

from gambeson.checks.check import Count
from gambeson.records import Run

BLACK_BOXES = ("square", "spsa", "boundary", "transfer")
Line = dict[str, Any]
Fell = dict[tuple[int, str], bool]  # (index, hash) of an image: whether an attack broke it
_TERMS = ("target", "norm", "noise", "form", "targeted", "targets_hash")  # of what is compared, beside eps


def one_step(run: Run) -> tuple[Count, ...]:
    """Images that FGSM breaks and PGD does not."""
    return _against(run, ("fgsm",), lambda name: name == "pgd")


def black_boxes(run: Run) -> tuple[Count, ...]:
    """Images that an attack without gradients breaks and none with them does, whatever their budgets."""
    return _against(run, BLACK_BOXES, _with_gradients)


def random_noise(run: Run) -> tuple[Count, ...]:
    return _against(run, ("random_noise",), _with_gradients)


def growing_eps(run: Run) -> tuple[Count, ...]:
    """Images that fall at one eps and not at the next larger one, to the same attack; of several step sizes at one eps,
    each counts.
    """
    groups: dict[str, dict[float, Fell]] = {}
    for evaluation in run.evaluations("attacked"):
        settings = evaluation["settings"]
        records = run.records(evaluation["id"])
        if settings["eps"] is None or len(records) < evaluation["examples"]:
            continue
        same = {
            name: value for name, value in settings.items() if name not in ("eps", "step_size", "options", "members")
        }
        at = groups.setdefault(f"{sorted(same.items(), key=str)} {evaluation['data']}", {})
        at[settings["eps"]] = _either(at.get(settings["eps"], {}), _fell(settings, records))
    counts = []
    for at in groups.values():
        for (low, before), (high, after) in pairwise(sorted(at.items())):
            where = f"eps {low:.4g} and {high:.4g}"
            counts += _count(before, after, where)
    return tuple(counts)


def _with_gradients(name: str) -> bool:
    return name not in (*BLACK_BOXES, "random_noise", "clean")


def _against(run: Run, weaker: Iterable[str], stronger: Callable[[str], bool]) -> tuple[Count, ...]:
    """For each ball: images that an attack of `weaker` breaks and none that is `stronger` does."""
    ours: dict[str, Fell] = {}
    theirs: dict[str, Fell] = {}
    named: dict[str, str] = {}
    for terms, name, found in _broken(run):
        key = str(sorted(terms.items(), key=str))
        named[key] = f"{terms['norm']} eps {terms['eps']:.4g}" + (f", {terms['noise']}" if terms["noise"] else "")
        if name in weaker:
            theirs[key] = _either(theirs.get(key, {}), found)
        if stronger(name):
            ours[key] = _either(ours.get(key, {}), found)
    return tuple(count for key, found in theirs.items() for count in _count(found, ours.get(key, {}), named[key]))


def _broken(run: Run) -> Iterator[tuple[Line, str, Fell]]:
    """(terms, attack, what it broke) of every evaluation in a ball; a suite's members one by one, each on the images
    that it was given.

    An attack for the smallest perturbation has no ball: its distances are judged at the eps of the others.
    """
    evaluations = [(e["settings"], run.records(e["id"])) for e in run.evaluations("attacked")]
    balls = {(s["norm"], s["eps"]) for s, _ in evaluations if s["eps"]}
    for settings, records in evaluations:
        terms = {name: settings.get(name) for name in _TERMS}
        if settings["eps"] is None:
            for norm, eps in balls:
                if norm == settings["norm"]:
                    fell = _fell(settings, records)
                    near = {_key(r): fell[_key(r)] and r["distance"] <= eps for r in records if _key(r) in fell}
                    yield {**terms, "eps": eps}, settings["attack"], near
        elif settings["eps"] > 0:
            terms["eps"] = settings["eps"]
            names = [member["name"] for member in settings.get("members") or ()]
            if not names:
                yield terms, settings["attack"], _fell(settings, records)
            for place, member in enumerate(settings.get("members") or ()):
                reached = [r for r in records if r["broken_by"] in (None, *names[place:])]
                yield terms, member["attack"], {_key(r): r["broken_by"] == names[place] for r in reached}


def _fell(settings: Line, records: Iterable[Line]) -> Fell:
    """Of the images that are classified correctly as they are: whether each fell. An abstention is not enough."""
    correct = [record for record in records if record["predict_clean"] == record["label"]]
    if settings.get("targeted"):
        return {_key(record): record["success"] for record in correct}
    return {_key(record): record["predict"] not in (record["label"], -1) for record in correct}


def _key(record: Line) -> tuple[int, str]:
    return record["index"], record["hash"]


def _either(one: Fell, other: Fell) -> Fell:
    return {key: one.get(key, False) or other.get(key, False) for key in {**one, **other}}


def _count(found: Fell, missed: Fell, where: str) -> list[Count]:
    """Of the images that both have attacked: those in `found` and not in `missed`."""
    both = [key for key in found if key in missed]
    bad = sum(found[key] and not missed[key] for key in both)
    return [Count(bad, len(both), where)] if both else []
