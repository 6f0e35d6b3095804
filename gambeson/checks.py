"""Can this evaluation be trusted? Each check reads records: a number, a threshold, a verdict, what it means, what
to do next.

pass, doubt (look closer before you quote the number), fail (the number is wrong), not_run (the records it needs
are missing).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from math import prod
from typing import Any, Literal

from scipy.stats import binom

from gambeson.certificates.reductions import other_norm
from gambeson.records import Run

Verdict = Literal["pass", "doubt", "fail", "not_run"]
Rejudge = Callable[
    [dict[str, Any], int], int | None
]  # (attack's evaluation, index) -> class on fresh noise, None: unknown

NOTICEABLE = 0.01  # the share of images from which an attack's failure is worth a doubt
FALSE_ALARM = 1e-6  # how often a sound certificate may fail the conflict check


@dataclass(frozen=True)
class Check:
    check: str
    verdict: Verdict
    value: float | None
    threshold: float | None
    meaning: str
    next_step: str

    def record(self) -> dict[str, Any]:
        return asdict(self)


def run_checks(run: Run, rejudge: Rejudge | None = None, flags: Sequence[Any] = ()) -> list[Check]:
    """All checks that exist, on everything that a run has recorded; `flags` are the doubts of `models.guards`."""
    return [
        model_contract(flags),
        certified_not_above_attacked(run, rejudge),
        success_grows_with_eps(run),
        one_step_not_better(run),
        step_size_within_eps(run),
        steps_span_the_ball(run),
    ]


def model_contract(flags: Sequence[Any]) -> Check:
    """Logits, a fixed function, images in [0, 1]: whatever `gambeson.models.guards` doubts about the model."""
    text = (
        " ".join(flag.message for flag in flags)
        or "The model is a fixed function of images in [0, 1] and gives logits."
    )
    verdict: Verdict = "doubt" if flags else "pass"
    return Check("model_contract", verdict, len(flags), 0, text, "Mend what the message names, then evaluate again.")


def certified_not_above_attacked(run: Run, rejudge: Rejudge | None = None) -> Check:
    """No attack, in whatever norm, may change the class inside a certified radius: same smoothed classifier and image.

    A conflict is an image that PREDICT gives another class (an abstention is none) at a distance in the norm of the
    certificate, measured in float64, below its radius against real-valued adversaries; where a record holds the
    distance in the attack's norm alone, below the radius that follows in that norm. It is re-judged on fresh noise;
    the check fails when more conflicts are confirmed than alpha allows, Binomial(images, alpha) at 1e-6. Where nothing
    was random, alpha is 0: there is nothing to judge again, and the first conflict fails.
    """
    name = "certified_not_above_attacked"
    outcomes = [_conflicts(run, certified, rejudge) for certified in run.evaluations("certified")]
    outcomes = [outcome for outcome in outcomes if outcome.images]
    if not outcomes:
        return _not_run(name, "an attack on the smoothed classifier, and a certificate: one noise and form")
    worst = max(outcomes, key=lambda outcome: (outcome.confirmed - outcome.allowed, outcome.unjudged))
    unjudged = sum(outcome.unjudged for outcome in outcomes)
    confirmed = sum(outcome.confirmed for outcome in outcomes)
    meaning = (
        f"{confirmed} confirmed conflicts, {unjudged} that could not be judged again, "
        f"on {sum(outcome.images for outcome in outcomes)} images that were certified and attacked."
    )
    if worst.confirmed > worst.allowed:
        step = "The certificate is unsound: do not publish it; check noise, form, and noise before normalisation."
        return Check(name, "fail", worst.confirmed, worst.allowed, meaning, step)
    step = "Attack again and keep the images (--keep), then check again." if unjudged else "None needed."
    return Check(name, "doubt" if unjudged else "pass", worst.confirmed, worst.allowed, meaning, step)


@dataclass(frozen=True)
class _Conflicts:
    images: int
    confirmed: int
    unjudged: int
    allowed: int


def _conflicts(run: Run, certified: dict[str, Any], rejudge: Rejudge | None) -> _Conflicts:
    """Over all attacks on one certified classifier: the images in conflict, each counted once."""
    sure = {record["index"]: record for record in run.records(certified["id"])}
    values = prod(run.header["shape"])
    certain = certified["settings"]["alpha"] == 0  # every noisy copy was counted, of the attack's image too
    images: set[int] = set()
    verdicts: dict[int, bool | None] = {}  # True: confirmed on fresh noise, None: some image was not kept, else False
    for attacked in run.evaluations("attacked"):
        if not _same_classifier(certified["settings"], attacked["settings"]):
            continue
        for after in run.records(attacked["id"]):
            before = sure.get(after["index"])
            if before is None or before["hash"] != after["hash"]:
                continue
            images.add(after["index"])
            index = after["index"]
            if _conflict(before, after, attacked["settings"]["norm"], values) and verdicts.get(index) is not True:
                again = rejudge(attacked, index) if rejudge and not certain else None
                found = True if certain else None if again is None else again not in (-1, before["selected"])
                # Another attack's image that turns out innocent does not clear one that nobody could judge.
                verdicts[index] = None if not found and verdicts.get(index, found) is None else found
    allowed = int(binom.isf(FALSE_ALARM, max(1, len(images)), certified["settings"]["alpha"]))
    outcomes = list(verdicts.values())
    return _Conflicts(len(images), outcomes.count(True), outcomes.count(None), allowed)


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
        return _not_run("success_grows_with_eps", "the same attack at two or more eps")
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
        return _not_run(name, "FGSM and PGD at the same eps (`gambeson attack RUN --attack fgsm`)")
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
        return _not_run(name, "an attack of several steps")
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
        return _not_run(name, "an attack of several steps")
    reach = min(s["steps"] * s["step_size"] / s["eps"] for s in settings)
    short = reach < 2 * (1 - 1e-9)
    step = "More steps, or a step size of 2.5 eps / steps." if short else "None needed."
    meaning = f"The shortest attack's steps add up to {reach:.3g} eps."
    return Check(name, "doubt" if short else "pass", reach, 2, meaning, step)


def _iterated(run: Run) -> list[dict[str, Any]]:
    attacks = (e["settings"] for e in run.evaluations("attacked"))
    return [settings for settings in attacks if settings["eps"] > 0 and settings["attack"] != "fgsm"]


def _same_classifier(certified: dict[str, Any], attacked: dict[str, Any]) -> bool:
    """Attacks are judged by the vote, so that nothing follows for the soft smoothed classifier."""
    same = all(certified[field] == attacked[field] for field in ("noise", "form"))
    vote = certified.get("smoothing", "hard") == "hard"
    return attacked["target"] == "smoothed" and same and vote


def _conflict(before: dict[str, Any], after: dict[str, Any], norm: str, values: int) -> bool:
    """One-sided radii only: all of them are read from one p_lower, and together fail with probability alpha."""
    one_sided = {name: r for name, r in before["radii_real"].items() if not name.endswith("_two_sided")}
    inside = any(_inside(after, norm, name.rpartition("_")[2], radius, values) for name, radius in one_sided.items())
    return inside and after["predict"] not in (-1, before["selected"])


def _inside(after: dict[str, Any], norm: str, of: str, radius: float, values: int) -> bool:
    """Whether an image attacked in `norm` lies within a radius of the norm `of`."""
    distances = after.get("distances")
    if distances is not None:
        return bool(distances[of] < radius)
    return bool(after["distance"] < other_norm(radius, of, norm, values))


def _by_eps(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Finished evaluations of the same attack on the same images, step size apart, ordered by eps."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for evaluation in sorted(run.evaluations("attacked"), key=lambda e: e["settings"]["eps"]):
        if len(run.records(evaluation["id"])) < evaluation["examples"]:
            continue
        settings = {k: v for k, v in evaluation["settings"].items() if k not in ("eps", "step_size")}
        groups.setdefault(f"{sorted(settings.items(), key=str)} {evaluation['data']}", []).append(evaluation)
    return groups


def _accuracy(records: Sequence[dict[str, Any]]) -> float:
    return sum(record["correct"] for record in records) / max(1, len(records))


def _not_run(name: str, needs: str) -> Check:
    return Check(name, "not_run", None, None, f"Not run: it needs {needs}.", "Record what it needs, then check again.")
