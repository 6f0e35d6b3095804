"""What a check says."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

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


def not_run(name: str, needs: str) -> Check:
    return Check(name, "not_run", None, None, f"Not run: it needs {needs}.", "Record what it needs, then check again.")
