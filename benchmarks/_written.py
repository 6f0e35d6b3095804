"""What every benchmark writes: where its numbers come from, and tables in Markdown."""

import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch


def origin() -> dict[str, Any]:
    """The command as it was typed, and the machine."""
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__}
    return {"command": " ".join([f"python benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]), "machine": machine}


def markdown(rows: Iterable[Iterable[Any]]) -> str:
    """A table; its first row is the head."""
    head, *body = [[str(cell) for cell in row] for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ["---"] * len(head), *body))
