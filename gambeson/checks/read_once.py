"""A run's records are read once for all checks: there may be many evaluations, all in one file."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from gambeson.records import Run


@dataclass(frozen=True)
class _Read(Run):
    lines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def records(self, evaluation: str | None = None) -> list[dict[str, Any]]:
        return super().records() if evaluation is None else self.lines.get(evaluation, [])


def read_once(run: Run) -> Run:
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in run.records():
        lines[record["evaluation"]].append(record)
    return _Read(run.path, run.which, lines)
