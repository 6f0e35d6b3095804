"""Signs that attacks fail for reasons of their own, counted over the images that were diagnosed."""

from collections.abc import Callable
from typing import Any, NamedTuple

from gambeson.checks.check import Check, Count, counted
from gambeson.checks.thresholds import INCOMPLETE, LEAST, UNSTABLE
from gambeson.records import Run

Line = dict[str, Any]  # a record, or its evaluation's settings
NEEDS = "a diagnosis (`gambeson check RUN`, on at least 200 images)"


def _everyone(_: Line) -> bool:
    return True


def _held(record: Line) -> bool:
    """To many steps and many starts, of the images that were right at first."""
    return record["after_steps"] is None and record["after_restarts"] is None and record["black_box"] != "clean"


def _slopes(record: Line) -> bool:
    return not record["unavailable"]


def _held_all(record: Line) -> bool:
    return _held(record) and not record["one_step"]


class Sign(NamedTuple):
    """shows: whether an image does; None where it cannot be told. able: whether it could; among: what such images are.
    meaning, next_step: see `counted`. looked: of the budget, what must not be less than `LEAST`. lacking: what a model
    does not have whose images cannot be told.
    """

    shows: Callable[[Line, Line], bool | None]
    meaning: str
    next_step: str
    able: Callable[[Line], bool] = _everyone
    among: str = "images"
    looked: tuple[str, ...] = ()
    lacking: str = "a gradient, which this model does not have"


def _weaker(by_eps: list[bool]) -> bool:
    """Whether an image falls at one eps and holds out at a larger one."""
    return sorted(by_eps) != by_eps


def _late(record: Line, of: str, most: int) -> bool | None:
    """Whether an image fell only after a budget was doubled to what it is."""
    if record["one_step"] is None:
        return None
    return record[of] is not None and record[of] > (most + 1) // 2


_HELD_OUT = "images that held out"
_SLOPES = "images with a gradient"
_UNMASK = "Gradients are masked: quote the worst case over attacks (--preset strong), and find what hides them."
SIGNS = {
    "one_step_not_better": Sign(
        lambda record, _: record["one_step"],
        "fall to one step",
        "Gradients may be masked: a smaller step size, more restarts, the margin loss.",
        _held,
        "images that hold out against many",
        ("steps", "restarts"),
    ),
    "black_box_not_better": Sign(
        lambda record, _: record["black_box"] not in (None, "clean"),
        "fall to an attack without gradients",
        _UNMASK,
        _held_all,
        "images that hold out against gradients",
        ("queries",),
    ),
    "random_noise_finds_nothing": Sign(
        lambda record, _: record["random_noise"],
        "fall to random noise",
        _UNMASK,
        _held_all,
        "images that hold out against gradients",
        ("noise_draws",),
    ),
    "unlimited_attack_succeeds": Sign(
        lambda record, _: record["unlimited"],
        "still do when every image is within reach",
        "The optimisation fails: another loss, gradients around what has none (a smooth stand-in), more steps.",
        _held,
        _HELD_OUT,
    ),
    "success_grows_with_eps": Sign(
        lambda record, _: None if record["by_eps"] is None else _weaker(record["by_eps"]),
        "fall at one eps and not at a larger one",
        "The optimisation fails at large eps: more steps, restarts, another loss.",
    ),
    "gradients_available": Sign(
        lambda record, _: record["unavailable"],
        "have no gradient, a zero one or one that is not finite",
        "Gradient attacks say nothing here: replace what has no gradient by a smooth stand-in, attack its scores.",
    ),
    "predictions_stable": Sign(
        lambda record, _: record["unstable"] > UNSTABLE,
        f"change their margin by more than {UNSTABLE:.0%} under tiny random moves",
        "The loss is rough: average gradients over small moves (a smooth stand-in), attack its scores.",
    ),
    "no_silent_success": Sign(
        lambda record, _: record["silent"],
        "fell on an attack's way and not at its end",
        "The loss leads away from success: another loss; return the worst point, not the last (ours do).",
        _slopes,
        _SLOPES,
    ),
    "optimisation_complete": Sign(
        lambda record, _: None if record["incomplete"] is None else record["incomplete"] > INCOMPLETE,
        f"still gained more than {INCOMPLETE:.0%} of their loss in the last ten steps",
        "The attack stops too early: more steps.",
        lambda record: _held(record) and _slopes(record),
        "images with a gradient that held out",
    ),
    "attacks_transfer": Sign(
        lambda record, settings: None if record["fooled_again"] is None else not record["fooled_again"],
        "do not fool the vote",
        "What is attacked is not what answers: more draws inside the attack (--attack-draws).",
        lambda record: record["fooled"],
        "points that fool the draws that were attacked",
        lacking="a smoothed classifier (`--noise`) with a gradient",
    ),
    "steps_converged": Sign(
        lambda record, settings: _late(record, "after_steps", settings["budget"]["steps"]),
        "fall only when the steps are doubled",
        "More steps: the accuracy under attack still falls.",
        _slopes,
        _SLOPES,
        looked=("steps",),
    ),
    "restarts_converged": Sign(
        lambda record, settings: _late(record, "after_restarts", settings["budget"]["restarts"]),
        "fall only when the restarts are doubled",
        "More restarts: the accuracy under attack still falls.",
        _slopes,
        _SLOPES,
        looked=("restarts",),
    ),
    "survives_rounding": Sign(
        lambda record, _: None if record["one_step"] is None else not record["fooled_rounded"],
        "are adversarial no more once they are saved as 8-bit images",
        "Attack points that images can have: report the success after rounding.",
        lambda record: record["fooled_rounded"] is not None,
        "adversarial points of largest loss",
    ),
}


def diagnosed(run: Run, name: str, more: tuple[Count, ...] = ()) -> Check:
    """The check `name` of `SIGNS`; `more`: what other records of the run say of it."""
    sign, needs, counts = SIGNS[name], NEEDS, list(more)
    for evaluation in run.evaluations("diagnosed"):
        records, settings = run.records(evaluation["id"]), evaluation["settings"]
        few = [f"{LEAST[of]:,} {of.replace('_', ' ')}" for of in sign.looked if settings["budget"][of] < LEAST[of]]
        shown = [(found, sign.able(record)) for record in records
                 if (found := sign.shows(record, settings)) is not None]  # fmt: skip
        if len(records) < evaluation["examples"]:
            needs = "a diagnosis that is finished: the same command goes on with it"
        elif few:
            needs = f"a diagnosis with at least {' and '.join(few)}"
        elif not shown:
            needs = sign.lacking
        else:
            able = [found for found, can in shown if can]
            where = f"{settings['norm']} eps {settings['eps']:.4g}" + (
                f", {settings['noise']}" if settings["noise"] else ""
            )
            counts.append(Count(sum(able), len(able), len(records), where))
    how: dict[str, str] = {"meaning": sign.meaning, "next_step": sign.next_step, "among": sign.among}
    return counted(name, counts, needs=needs, **how)
