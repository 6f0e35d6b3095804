"""A certified record made again from its own counts: the procedure that wrote it is sent them, and cannot tell."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import isclose
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gambeson.errors import RunError
from gambeson.evaluation.certified import settings_of
from gambeson.evaluation.procedures import Road, every_copy, full, of_a_grid, of_a_table, soft
from gambeson.sampling import Counts
from gambeson.schema import check_record
from gambeson.schema.settings import CertifiedSettings
from gambeson.schema.strict import written
from gambeson.smoothed.budgets import certify_budget
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.procedure import Ask, Procedure
from gambeson.stats import score_bins

# What another version of NumPy or SciPy may change; a certificate magnifies it, as where it searches for a maximum.
SAME, SAME_RADIUS = {"rel_tol": 1e-9}, {"rel_tol": 1e-6, "abs_tol": 1e-6}
AT_MOST = ("radii_real",)  # an earlier version took more off for rounding, and claimed less
GIVEN = ("evaluation", "index", "hash", "label", "seconds")  # what no procedure says
CHOSEN = ("form", "generator")  # what follows from no other setting, and may be another here and now
Problem = Callable[[dict[str, Any], Tensor], str | None]  # of a record and its image (C, H, W)


class _Impossible(Exception):
    """No draws give these counts."""


def replayer(smoothed: Smoothed, settings: dict[str, Any], values: int) -> Problem:
    """A function of a certified record and its image that says what is wrong with the record; None: nothing.

    Every field that follows from the counts, the label and the settings is made again and compared. settings: of the
    record's evaluation. values: numbers in an image. Raises RunError where what follows from the settings is not what
    they say, and UserError where they ask for what cannot be certified.
    """
    # Looks follow from the rows of a call; those of this machine may be fewer.
    form = replace(smoothed.base.form, batch=settings["form"]["batch"])
    base = replace(smoothed.base, form=form, positions=settings.get("positions", "alike"))
    smoothed = replace(smoothed, base=base)
    road = _road(smoothed, settings, values)
    made = settings_of(smoothed, road, values)
    given, made = (written(CertifiedSettings, one, "the settings of a certification") for one in (settings, made))
    if wrong := _difference(given, made | {name: given[name] for name in CHOSEN}, "the others"):
        raise RunError(f"the settings are not consistent: {wrong} in this version of gambeson")
    return partial(_problem, road, smoothed.classes)


def _road(smoothed: Smoothed, settings: dict[str, Any], values: int) -> Road:
    """What every image went through."""
    budget, same = settings["budget"], {name: settings[name] for name in ("select_draws", "draws", "alpha")}
    if budget == "exact":
        return every_copy(smoothed)
    certify_budget(same["draws"], same["select_draws"], same["alpha"])
    smoothed.fills_rows(same["draws"], same["alpha"])
    if budget == "fixed":
        return (soft if settings.get("smoothing") == "soft" else full)(smoothed, values, same)
    radii, rule = budget["radii"], budget["rule"]
    if (error := budget.get("table_error")) is not None:
        return of_a_table(smoothed, values, same, radii, images=1, error=error, rule=rule)
    return of_a_grid(smoothed, values, same, radii, price=budget["price"], rule=rule, stop_wrong=budget["stop_wrong"])


def _problem(road: Road, classes: int, record: dict[str, Any], pixels: Tensor) -> str | None:
    record = check_record("certified", {"evaluation": "", **record})
    last = None if record["looks"] is None else len(record["looks"]) - 1
    try:
        made = _replay(road.begin(pixels, record["label"], last), record, classes)
    except _Impossible as why:
        return str(why)
    made |= {name: record[name] for name in GIVEN} | {"correct": made["predict"] == record["label"]}
    return _difference(record, check_record("certified", made), "its counts")


def _replay(procedure: Procedure, record: dict[str, Any], classes: int) -> dict[str, Any]:
    """What the procedure makes of the recorded counts."""
    ask, selected, sent = next(procedure), 0, Counts(np.zeros(classes, np.int64), 0)
    while True:
        if ask.stage == "select":
            answer = Counts(_votes("selection counts", record["select_counts"], classes, ask.draws), ask.draws)
            selected = int(answer.classes.argmax())
        else:
            answer = _estimate(ask, record, selected, sent)
            sent += answer
        try:
            ask = procedure.send(answer)
        except StopIteration as ended:
            return dict(ended.value)


def _estimate(ask: Ask, record: dict[str, Any], selected: int, sent: Counts) -> Counts:
    """What the record says of these draws. Its looks know the selected class's hits only, so the last one is given
    what all others of its draws together were.
    """
    end, looks = ask.first + ask.draws, record["looks"]
    hits = None if looks is None else dict(looks).get(end)
    if looks is not None and hits is None:
        raise _Impossible(f"its looks are {looks}, where the procedure looks at {end} draws")
    if hits is None or end == looks[-1][0]:
        votes = _votes("counts", record["counts"], len(sent.classes), end) - sent.classes
    else:
        votes = np.where(np.arange(len(sent.classes)) == selected, hits - sent.classes[selected], 0)
    if votes.min() < 0 or votes[selected] > ask.draws:
        raise _Impossible(f"its hits change by {votes[selected]} in {ask.draws} draws, up to the look at {end}")
    return Counts(votes, ask.draws, None if ask.score is None else _scores(record["scores"] or [], ask.draws))


def _votes(name: str, found: list[int], classes: int, draws: int) -> NDArray[np.int64]:
    """Draws whose logits are not finite vote for no class: the votes may be fewer than the draws, never more."""
    if len(found) != classes or min(found) < 0 or sum(found) > draws:
        raise _Impossible(f"its {name} are {found}, not {classes} that add up to {draws} draws at most")
    return np.array(found, np.int64)


def _scores(found: list[int], draws: int) -> NDArray[np.int64]:
    if len(found) != score_bins.BINS or min(found) < 0 or sum(found) != draws:
        bins = f"{len(found)} bins that add up to {sum(found)}"
        raise _Impossible(f"its scores are {bins}, not {score_bins.BINS} that add up to the {draws} draws")
    return np.array(found, np.int64)


def _difference(given: dict[str, Any], made: dict[str, Any], source: str) -> str | None:
    """The first field that differs, in words."""
    for name, value in made.items():
        same = partial(_same, SAME_RADIUS if "radi" in name else SAME, name in AT_MOST)
        if not _alike(given[name], value, same):
            return _in_words(name, given[name], value, source, same)
    return None


def _in_words(name: str, given: Any, made: Any, source: str, same: Callable[[float, float], bool]) -> str:
    """Of two dictionaries with the same keys, the first value that differs."""
    if isinstance(given, dict) and isinstance(made, dict) and given.keys() == made.keys():
        key = next(key for key in made if not _alike(given[key], made[key], same))
        return _in_words(f"{name}.{key}", given[key], made[key], source, same)
    return f"{name} is {given!r}, {source} give {made!r}"


def _alike(given: Any, made: Any, same: Callable[[float, float], bool]) -> bool:
    if isinstance(given, dict) and isinstance(made, dict):
        return given.keys() == made.keys() and all(_alike(given[name], made[name], same) for name in made)
    if isinstance(given, list) and isinstance(made, list):
        return len(given) == len(made) and all(_alike(*pair, same) for pair in zip(given, made, strict=True))
    if isinstance(given, float) and isinstance(made, float):
        return same(given, made)
    return bool(given == made)


def _same(within: dict[str, float], less_too: bool, given: float, made: float) -> bool:
    return (less_too and 0 <= given <= made) or isclose(given, made, **within)
