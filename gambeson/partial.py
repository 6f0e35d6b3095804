"""Partial counts on disk: an image takes up to hours, and a run that is killed goes on inside of it.

A line of `partial.jsonl` is what one slice of work brought: class counts of consecutive draws. It is torn as a whole,
then it is dropped and its slice done again. Counts of the same draws grow: the last ones hold. Nothing but the
evaluation itself reads them, and when it is complete they go.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gambeson.jsonl import append, as_line, drop_torn_line, numbered_lines
from gambeson.schema import as_slice, check_slice


@dataclass(frozen=True)
class Partial:
    """The partial counts of one evaluation of a run; only the run's one writer may use it."""

    path: Path
    evaluation: str

    def read(self) -> Iterator[dict[str, Any]]:
        """What was kept, oldest first; a line that is none is a UserError that names it."""
        return (line for line in self._lines() if line["evaluation"] == self.evaluation)

    def keep(self, counted: dict[str, Any]) -> None:
        line = as_line(check_slice({"evaluation": self.evaluation, **counted}))
        with self.path.open("ab+", buffering=0) as file:
            drop_torn_line(file)
            append(file, line.encode())

    def forget(self) -> None:
        """Drop what was kept; the file holds the others' lines, all or, if this fails, as before."""
        others = "".join(as_line(line) for line in self._lines() if line["evaluation"] != self.evaluation)
        if not others:
            self.path.unlink(missing_ok=True)
            return
        temporary = self.path.with_name(self.path.name + ".tmp")
        temporary.write_text(others)
        temporary.replace(self.path)

    def _lines(self) -> Iterator[dict[str, Any]]:
        return (as_slice(line, where) for where, line in numbered_lines(self.path))
