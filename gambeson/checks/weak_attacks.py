"""Do attacks fail for reasons of their own: masked gradients, steps that are too long or too few?"""

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any

from gambeson.checks.check import Check, Verdict, not_run
from gambeson.records import Run

NOTICEABLE = 0.01  # the share of images from which an attack's failure is worth a doubt


def success_grows_with_eps(run: Run) -> Check:
    """A larger ball contains the smaller one: accuracy under the same attack must not rise with eps (Athalye et
    al. 2018). Where an attack ran with several step sizes at one eps, the strongest counts.
    """
    rises = []
    for group in _by_eps(run).values():
        accuracies: dict[float, float] = {}
        for evaluation in group:
            eps, accuracy = evaluation["settings"]["eps"], _accuracy(run.records(evaluation["id"]))
            accuracies[eps] = min(accuracy, accuracies.get(eps, 1.0))
        rises += [later - earlier for earlier, later in pairwise(accuracies.values())]
    if not rises:
        return not_run("success_grows_with_eps", "the same attack at two or more eps")
    rise = max(0.0, *rises)
    meaning = f"The largest rise of accuracy from one eps to the next is {rise:.4f}."
    verdict: Verdict = "doubt" if rise > NOTICEABLE else "pass"
    step = (
        "The optimisation fails at large eps: more steps, restarts, another loss."
        if rise > NOTICEABLE
        else "None needed."
    )
    return Check("success_grows_with_eps", verdict, rise, NOTICEABLE, meaning, step)


def one_step_not_better(run: Run) -> Check:
    """FGSM must not fool images that PGD with many steps does not (Athalye et al. 2018): per image, same eps and
    norm.
    """
    name, shares = "one_step_not_better", []
    many = [e for e in run.evaluations("attacked") if e["settings"]["attack"] == "pgd"]
    for one, other in product(run.evaluations("attacked"), many):
        same = all(one["settings"][k] == other["settings"][k] for k in ("norm", "eps", "target", "noise", "targeted"))
        if one["settings"]["attack"] == "fgsm" and one["settings"]["eps"] > 0 and same:
            robust = {(r["index"], r["hash"]): not r["success"] for r in run.records(other["id"])}
            both = [r for r in run.records(one["id"]) if (r["index"], r["hash"]) in robust]
            shares += [sum(r["success"] and robust[r["index"], r["hash"]] for r in both) / len(both)] if both else []
    if not shares:
        return not_run(name, "FGSM and PGD at the same eps (`gambeson attack RUN --attack fgsm`)")
    share = max(shares)
    meaning = f"One step fools {share:.4f} of the images that many steps do not."
    step = (
        "Gradients may be masked: a smaller step size, more restarts, the margin loss."
        if share > NOTICEABLE
        else "None needed."
    )
    return Check(name, "doubt" if share > NOTICEABLE else "pass", share, NOTICEABLE, meaning, step)


def step_size_within_eps(run: Run) -> Check:
    """A step longer than the ball's radius jumps over it: a usual reason why a plain model looks robust."""
    name, settings = "step_size_within_eps", _iterated(run)
    if not settings:
        return not_run(name, "an attack of several steps")
    ratio = max(s["step_size"] / s["eps"] for s in settings)
    verdict: Verdict = "doubt" if ratio > 1 else "pass"
    step = "Use a step size of eps/10 to eps/4." if ratio > 1 else "None needed."
    return Check(name, verdict, ratio, 1, f"The longest step is {ratio:.3g} eps.", step)


def steps_span_the_ball(run: Run) -> Check:
    """All steps together must reach from any point of the ball to any other: 2 eps. Fewer make a weak attack,
    quietly.
    """
    name, settings = "steps_span_the_ball", _iterated(run)
    if not settings:
        return not_run(name, "an attack of several steps")
    reach = min(s["steps"] * s["step_size"] / s["eps"] for s in settings)
    short = reach < 2 * (1 - 1e-9)
    step = "More steps, or a step size of 2.5 eps / steps." if short else "None needed."
    meaning = f"The shortest attack's steps add up to {reach:.3g} eps."
    return Check(name, "doubt" if short else "pass", reach, 2, meaning, step)


def _iterated(run: Run) -> list[dict[str, Any]]:
    attacks = (e["settings"] for e in run.evaluations("attacked"))
    return [settings for settings in attacks if settings["attack"] == "pgd" and settings["eps"] > 0]


def _by_eps(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Finished evaluations of the same attack on the same images, step size apart, ordered by eps."""
    groups: dict[str, list[dict[str, Any]]] = {}
    in_balls = [e for e in run.evaluations("attacked") if e["settings"]["eps"] is not None]
    for evaluation in sorted(in_balls, key=lambda e: e["settings"]["eps"]):
        if len(run.records(evaluation["id"])) < evaluation["examples"]:
            continue
        settings = {k: v for k, v in evaluation["settings"].items() if k not in ("eps", "step_size")}
        groups.setdefault(f"{sorted(settings.items(), key=str)} {evaluation['data']}", []).append(evaluation)
    return groups


def _accuracy(records: Sequence[dict[str, Any]]) -> float:
    return sum(record["correct"] for record in records) / max(1, len(records))
