"""What a check says."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from gambeson.checks.thresholds import HALF, IMAGES, VOID, largest, limit

Verdict = Literal["pass", "doubt", "fail", "not_run"]
_SEVERITY = ("pass", "doubt", "fail")


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
    """The worst verdict on any count decides. Those of fewer than 200 images have none, nor have those that would pass
    even if every image that could show the sign did.

    needs: what is recorded for it; among, meaning: what can show it and what it shows, of a sentence.
    """
    if not counts:
        return not_run(name, needs)
    enough = [count for count in counts if count.images >= IMAGES]
    if not enough:
        return not_run(name, f"{IMAGES} images and has {max(count.images for count in counts)}")
    told = [count for count in enough if count.able > limit(name, count.able, len(enough))]
    if not told:
        best = max(enough, key=lambda count: count.able)
        needs = f"more {among} than {best.able}" if best.able else f"{among}, and there were none"
        return not_run(name, f"{needs} ({best.where})")
    judged = [(_verdict(name, count, len(told)), count, limit(name, count.able, len(told))) for count in told]
    verdict, worst, most = max(
        judged, key=lambda one: (_SEVERITY.index(one[0]), one[1].bad - one[2], one[1].bad / one[1].able)
    )
    text = f"{worst.bad} of {worst.able} {among} {meaning} ({worst.where})."
    return Check(name, verdict, worst.bad, most, text, "None needed." if verdict == "pass" else next_step)


def _verdict(name: str, count: Count, looks: int) -> Verdict:
    """Where the count says that more than half show one of the signs `VOID`, what was quoted is void."""
    if count.bad <= limit(name, count.able, looks):
        return "pass"
    return "fail" if name in VOID and count.bad > largest(HALF, count.able, looks) else "doubt"
