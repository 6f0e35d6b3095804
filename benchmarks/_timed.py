"""A command in a process of its own: its output, wall-clock time, and the peak memory of it and all that it starts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import NamedTuple


class Timed(NamedTuple):
    output: str
    seconds: float
    peak_megabytes: int  # resident, every process's own peak added up: an upper bound where they took turns


def timed(command: list[str]) -> Timed:
    """Run `command` to its end; one that fails ends the benchmark with what it said."""
    # How many threads a side uses is for its own arguments to say.
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    peaks: dict[int, int] = {}
    start = perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        while True:
            with suppress(subprocess.TimeoutExpired):
                output, _ = process.communicate(timeout=0.1)
                break
            for pid in _family(process.pid):
                peaks[pid] = max(_peak(pid), peaks.get(pid, 0))
    seconds = perf_counter() - start
    if process.returncode:
        sys.exit(f"this command failed with status {process.returncode}: {' '.join(command)}\n{output}")
    return Timed(output, seconds, round(sum(peaks.values()) / 1024))


def _family(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):  # processes and threads end while we look
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from _family(int(child))


def _peak(pid: int) -> int:
    """Kilobytes, of Linux's /proc; elsewhere 0."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
    return 0
