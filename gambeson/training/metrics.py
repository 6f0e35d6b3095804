"""metrics.jsonl: one line per epoch, cut back to the checkpoint on resume."""

import json
import os
from pathlib import Path
from typing import Any


def append(path: Path, line: dict[str, Any]) -> None:
    """Add one line and have it on disk before the checkpoint that follows it."""
    with path.open("a") as file:
        file.write(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def cut_back(path: Path, step: int) -> None:
    """Drop the lines after `step`, and a torn one: they will be written again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        try:
            if line.endswith("\n") and json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError):
            continue
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(kept))
    temporary.replace(path)
