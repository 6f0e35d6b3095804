"""What a check says."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from gambeson.checks.thresholds import HALF, IMAGES, VOID, largest, limit, tells

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
    it; images: that were looked at in all. where: the ball and the classifier. less: what should have been spent on
    looking, where too little was to say that there is nothing.
    """

    bad: int
    able: int
    images: int
    where: str
    less: str | None = None


def not_run(name: str, needs: str) -> Check:
    return Check(name, "not_run", None, None, f"Not run: it needs {needs}.", "Record what it needs, then check again.")


def counted(
    name: str, counts: Sequence[Count], *, needs: str, meaning: str, next_step: str, among: str = "images"
) -> Check:
    """The worst verdict on any count decides. Those of fewer than 200 images have none. Nor does one pass that was
    hardly looked for, or where so few images could show the sign that half of them might and raise no doubt.

    needs: what is recorded for it; among, meaning: what can show it and what it shows, of a sentence.
    """
    if not counts:
        return not_run(name, needs)
    enough = [count for count in counts if count.images >= IMAGES]
    if not enough:
        return not_run(name, f"{IMAGES} images and has {max(count.images for count in counts)}")
    looks = len(enough)
    judged = [(_verdict(name, count, looks), count, limit(name, count.able, looks)) for count in enough]
    told = [
        one for one in judged
        if one[0] != "pass" or (one[1].less is None and tells(name, one[1].able, looks))
    ]  # fmt: skip
    if not told:
        best = max(enough, key=lambda count: (count.less is None, count.able))
        few = f"more {among} than {best.able}" if best.able else f"{among}, and there were none"
        return not_run(name, f"{best.less or few} ({best.where})")
    verdict, worst, most = max(
        told, key=lambda one: (_SEVERITY.index(one[0]), one[1].bad - one[2], one[1].bad / one[1].able)
    )
    text = f"{worst.bad} of {worst.able} {among} {meaning} ({worst.where})."
    return Check(name, verdict, worst.bad, most, text, "None needed." if verdict == "pass" else next_step)


def _verdict(name: str, count: Count, looks: int) -> Verdict:
    """Where the count says that more than half show one of the signs `VOID`, what was quoted is void."""
    if count.bad <= limit(name, count.able, looks):
        return "pass"
    return "fail" if name in VOID and count.bad > largest(HALF, count.able, looks) else "doubt"
