"""What a check says."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from gambeson.checks.thresholds import IMAGES, VOID, limit

Verdict = Literal["pass", "doubt", "fail", "not_run"]


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


class Count(NamedTuple):
    """bad: how many images show a sign that attacks fail for reasons of their own, of the `able` ones that could show
    it; images: that were looked at in all. where: the ball and the classifier.
    """

    bad: int
    able: int
    images: int
    where: str


def not_run(name: str, needs: str) -> Check:
    return Check(name, "not_run", None, None, f"Not run: it needs {needs}.", "Record what it needs, then check again.")


def counted(
    name: str, counts: Sequence[Count], *, needs: str, meaning: str, next_step: str, among: str = "images"
) -> Check:
    """The count that exceeds its limit the most decides; those of fewer than 200 images do not. More than half of the
    images that could show one of the signs `VOID` fail: what was quoted is void.

    needs: what is recorded for it; among, meaning: what can show it and what it shows, of a sentence.
    """
    if not counts:
        return not_run(name, needs)
    enough = [count for count in counts if count.images >= IMAGES]
    if not enough:
        return not_run(name, f"{IMAGES} images and has {max(count.images for count in counts)}")
    limits = {count: limit(name, count.able, len(enough)) for count in enough}
    worst = max(enough, key=lambda count: (count.bad - limits[count], count.bad / max(count.able, 1)))
    most = limits[worst]
    verdict: Verdict = "doubt" if worst.bad > most else "pass"
    if verdict == "doubt" and name in VOID and 2 * worst.bad > worst.able:
        verdict = "fail"
    text = f"{worst.bad} of {worst.able} {among} {meaning} ({worst.where})."
    return Check(name, verdict, worst.bad, most, text, "None needed." if verdict == "pass" else next_step)
