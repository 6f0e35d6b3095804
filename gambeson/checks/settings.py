"""Settings that make attacks weak, quietly."""

from collections.abc import Iterator, Sequence
from typing import Any

from gambeson.checks.check import Check, Verdict, not_run
from gambeson.records import Run

_NEAR = 1e-6  # relative
_ROUGH = 1e-3  # of a quotient that was typed with three or four digits
_SMALL = 32 / 256  # larger ones are as often meant as fractions of 1 as of 256


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


def eps_in_pixel_units(run: Run, std: Sequence[float] = ()) -> Check:
    """eps is in [0, 1]: k/256 where k/255 is meant, or the units of a normalised image, make another threat model. A
    whole number of the data's own levels is none of these.

    std: by which the model divides its channels.
    """
    name = "eps_in_pixel_units"
    diagnoses = [evaluation["settings"] for evaluation in run.evaluations("diagnosed")]
    found = [settings["eps"] for settings in (*_all(run), *diagnoses) if settings["norm"] == "linf" and settings["eps"]]
    if not found:
        return not_run(name, "an attack in linf")
    levels = run.header["levels"] or 255
    odd = {eps: text for eps in found if not _whole(eps * levels) and (text := _odd(eps, std))}
    step = "Write eps as 8/255, in [0, 1] pixel units; the model normalises itself." if odd else "None needed."
    meaning = " ".join(odd.values()) or "No eps looks like another unit."
    return Check(name, "doubt" if odd else "pass", len(odd), 0, meaning, step)


def dlr_has_classes(run: Run) -> Check:
    """The DLR loss compares the third (targeted: fourth) largest logit: with fewer classes another loss takes its
    place, and the suite is not the published one.
    """
    name, classes = "dlr_has_classes", len(run.header["classes"])
    suites = [s for s in _all(run) if s["attack"] in ("standard", "plus", "rand", "strong")]
    if not suites:
        return not_run(name, "a suite (`gambeson attack RUN --preset standard`)")
    needed = 3 if all(s["attack"] == "rand" for s in suites) else 4
    few = classes < needed
    meaning = f"The suite's DLR losses need {needed} classes; the model has {classes}."
    step = "Say that the difference of two logits took its place." if few else "None needed."
    return Check(name, "doubt" if few else "pass", classes, needed, meaning, step)


def _odd(eps: float, std: Sequence[float]) -> str:
    if _whole(eps * 255):
        return ""
    if eps < _SMALL and _whole(eps * 256):
        return f"{eps:.6g} is {round(eps * 256)}/256, and pixels are k/255."
    if not _whole(eps * 1000):
        for each in std:
            if _whole(eps * each * 255, _ROUGH) or _whole(eps * each * 100, _ROUGH):
                return f"{eps:.6g} is {eps * each:.3g} divided by {each:.4g}, the model's standard deviation."
    return ""


def _whole(value: float, near: float = _NEAR) -> bool:
    return round(value) > 0 and abs(value / round(value) - 1) < near


def _all(run: Run) -> Iterator[dict[str, Any]]:
    return (evaluation["settings"] for evaluation in run.evaluations("attacked"))


def _iterated(run: Run) -> list[dict[str, Any]]:
    """The options of all attacks that take steps of a given size in a ball, wherever they were run."""
    found = []
    for settings in _all(run):
        for options in (settings, settings.get("options"), *(m["options"] for m in settings.get("members") or ())):
            found += [{**of, "eps": settings["eps"]} for of in (options, (options or {}).get("of")) if of]
    found = [of for of in found if of["eps"] and of.get("step_size") and of.get("attack") != "fgsm"]
    return [of for of in found if of.get("steps") and of.get("samples") is None]
