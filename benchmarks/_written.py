"""What every benchmark writes: where its numbers come from, and tables in Markdown."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gambeson.machine import kind_of_machine


def origin() -> dict[str, Any]:
    """The command as it was typed, and the machine."""
    machine = {"cores": os.cpu_count(), **kind_of_machine("cpu")}
    return {"command": " ".join([f"python benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]), "machine": machine}


def markdown(rows: Iterable[Iterable[Any]]) -> str:
    """A table; its first row is the head."""
    head, *body = [[str(cell) for cell in row] for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ["---"] * len(head), *body))
