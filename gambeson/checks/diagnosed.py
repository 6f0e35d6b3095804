"""Signs that attacks fail for reasons of their own, counted over the images that were diagnosed."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gambeson.checks.check import Check, Count, counted
from gambeson.checks.thresholds import INCOMPLETE, UNSTABLE
from gambeson.records import Run

Line = dict[str, Any]  # a record, or its evaluation's settings
NEEDS = "a diagnosis (`gambeson check RUN`, on at least 200 images)"


class Sign(NamedTuple):
    """shows: whether an image does; None where it cannot be told. meaning, next_step: see `counted`."""

    shows: Callable[[Line, Line], bool | None]
    meaning: str
    next_step: str


def _held(record: Line) -> bool:
    return record["after_steps"] is None and record["after_restarts"] is None


def _weaker(by_eps: list[bool]) -> bool:
    """Whether an image falls at one eps and holds out at a larger one."""
    return sorted(by_eps) != by_eps


def _late(record: Line, of: str, most: int) -> bool | None:
    """Whether an image fell to the second half of a budget."""
    if record["one_step"] is None:
        return None
    return record[of] is not None and record[of] > most // 2


SIGNS = {
    "one_step_not_better": Sign(
        lambda record, _: record["one_step"] and _held(record),
        "fall to one step and not to many",
        "Gradients may be masked: a smaller step size, more restarts, the margin loss.",
    ),
    "black_box_not_better": Sign(
        lambda record, _: record["black_box"] not in (None, "clean"),
        "fall to an attack without gradients and to none with them",
        "Gradients are masked: quote the worst case over attacks (--preset strong), and find what hides them.",
    ),
    "random_noise_finds_nothing": Sign(
        lambda record, _: record["random_noise"],
        "fall to random noise and to no gradient attack",
        "Gradients are masked: quote the worst case over attacks (--preset strong), and find what hides them.",
    ),
    "unlimited_attack_succeeds": Sign(
        lambda record, _: record["unlimited"],
        "hold out although every image is within reach",
        "The optimisation fails: another loss, gradients around what has none (a smooth stand-in), more steps.",
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
        "The loss is rough or random: average gradients over moves or calls (--set calls=20), attack scores.",
    ),
    "no_silent_success": Sign(
        lambda record, _: record["silent"],
        "fell on an attack's way and not at its end",
        "The loss leads away from success: another loss; return the worst point, not the last (ours do).",
    ),
    "optimisation_complete": Sign(
        lambda record, _: None if record["incomplete"] is None else record["incomplete"] > INCOMPLETE,
        f"still gained more than {INCOMPLETE:.0%} of their loss in the last ten steps",
        "The attack stops too early: more steps.",
    ),
    "attacks_transfer": Sign(
        lambda record, settings: record["fooled"] and not record["fooled_again"] if settings["noise"] else None,
        "fool the draws that were attacked and not the vote",
        "What is attacked is not what answers: more draws inside the attack (--attack-draws).",
    ),
    "steps_converged": Sign(
        lambda record, settings: _late(record, "after_steps", settings["budget"]["steps"]),
        "fall only when the steps are doubled",
        "More steps: the accuracy under attack still falls.",
    ),
    "restarts_converged": Sign(
        lambda record, settings: _late(record, "after_restarts", settings["budget"]["restarts"]),
        "fall only when the restarts are doubled",
        "More restarts: the accuracy under attack still falls.",
    ),
    "survives_rounding": Sign(
        lambda record, _: None if record["fooled"] is None else record["fooled"] and not record["fooled_rounded"],
        "are adversarial no more once they are saved as images",
        "Attack points that images can have: report the success after rounding.",
    ),
}


def diagnosed(run: Run, name: str, more: tuple[Count, ...] = ()) -> Check:
    """The check `name` of `SIGNS`; `more`: what other records of the run say of it."""
    sign = SIGNS[name]
    needs = "what this model or its diagnosis does not have" if any(run.evaluations("diagnosed")) else NEEDS
    return counted(name, [*_counts(run, sign), *more], needs=needs, meaning=sign.meaning, next_step=sign.next_step)


def _counts(run: Run, sign: Sign) -> Iterator[Count]:
    """One count for each diagnosis that is finished; images of which the sign cannot be told are not counted."""
    for evaluation in run.evaluations("diagnosed"):
        records, settings = run.records(evaluation["id"]), evaluation["settings"]
        if len(records) < evaluation["examples"]:
            continue
        shown = [found for record in records if (found := sign.shows(record, settings)) is not None]
        where = f"{settings['norm']} eps {settings['eps']:.4g}" + (
            f", {settings['noise']}" if settings["noise"] else ""
        )
        if shown:
            yield Count(sum(shown), len(shown), where)
