"""Does an attack contradict a certificate?"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import scipy  # its stats, which take long to import, when they are asked for

from gambeson.certificates.reductions import other_norm
from gambeson.checks.check import Check, not_run
from gambeson.records import Run

# (an attack's evaluation, index) -> the class on fresh noise, None: unknown
Rejudge = Callable[[dict[str, Any], int], int | None]
FALSE_ALARM = 1e-6  # how often a sound certificate may fail the check


def certified_not_above_attacked(run: Run, rejudge: Rejudge | None = None) -> Check:
    """No attack, in whatever norm, may change the class inside a certified radius: same smoothed classifier and image.

    A conflict is an image that PREDICT gives another class (an abstention is none) at a distance in the norm of the
    certificate, measured in float64, below its radius against real-valued adversaries; where a record holds the
    distance in the attack's norm alone, below the radius that follows in that norm. It is re-judged on fresh noise;
    the check fails when more conflicts are confirmed than alpha allows, Binomial(images, alpha) at 1e-6. Where nothing
    was random, alpha is 0: there is nothing to judge again, and the first conflict fails, if both were counted on the
    same kind of machine; votes of two may differ by the last bits of logits.
    """
    name = "certified_not_above_attacked"
    outcomes = [_conflicts(run, certified, rejudge) for certified in run.evaluations("certified")]
    outcomes = [outcome for outcome in outcomes if outcome.images]
    if not outcomes:
        return not_run(name, "an attack on the smoothed classifier, and a certificate: one noise and form")
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
    again = "Attack again, on the machine that certified, and keep the images (--keep), then check again."
    step = again if unjudged else "None needed."
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
    exact = certified["settings"]["alpha"] == 0  # every noisy copy was counted, of the attack's image too
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
                again = rejudge(attacked, index) if rejudge and not exact else None
                found = None if again is None else again not in (-1, before["selected"])
                if exact and _same_machine(certified, attacked):
                    found = True
                # Another attack's image that turns out innocent does not clear one that nobody could judge.
                verdicts[index] = None if not found and verdicts.get(index, found) is None else found
    allowed = int(scipy.stats.binom.isf(FALSE_ALARM, max(1, len(images)), certified["settings"]["alpha"]))
    outcomes = list(verdicts.values())
    return _Conflicts(len(images), outcomes.count(True), outcomes.count(None), allowed)


def _same_classifier(certified: dict[str, Any], attacked: dict[str, Any]) -> bool:
    """Attacks are judged by the vote, so that nothing follows for the soft smoothed classifier."""
    same = all(certified[field] == attacked[field] for field in ("noise", "form"))
    vote = certified.get("smoothing", "hard") == "hard"
    return attacked["target"] == "smoothed" and same and vote


def _same_machine(certified: dict[str, Any], attacked: dict[str, Any]) -> bool:
    """Threads apart: those of an attack's machine are not the form's that judged."""
    one, other = ({**(found["machine"] or {}), "threads": None} for found in (certified, attacked))
    return one == other


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
