"""What a check says."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from gambeson.checks.thresholds import IMAGES, limit

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
    """Of so many images, how many show a sign that attacks fail for reasons of their own; `where`: it was looked."""

    bad: int
    images: int
    where: str


def not_run(name: str, needs: str) -> Check:
    return Check(name, "not_run", None, None, f"Not run: it needs {needs}.", "Record what it needs, then check again.")


def counted(name: str, counts: Sequence[Count], *, needs: str, meaning: str, next_step: str) -> Check:
    """The count that exceeds its limit the most decides; counts of fewer than 200 images do not.

    needs: what is recorded for it; meaning: what the images show, as the end of a sentence.
    """
    if not counts:
        return not_run(name, needs)
    enough = [count for count in counts if count.images >= IMAGES]
    if not enough:
        return not_run(name, f"{IMAGES} images and has {max(count.images for count in counts)}")
    limits = {count: limit(name, count.images, len(enough)) for count in enough}
    worst = max(enough, key=lambda count: (count.bad - limits[count], count.bad / count.images))
    most = limits[worst]
    verdict: Verdict = "doubt" if worst.bad > most else "pass"
    text = f"{worst.bad} of {worst.images} images {meaning} ({worst.where})."
    return Check(name, verdict, worst.bad, most, text, next_step if verdict == "doubt" else "None needed.")
