"""Other processes, which begin when the system gets round to it: cheap ones, and how to wait for what they do."""

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

# Forked from a process that has imported torch, so that tests can afford many.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch", "gambeson.cli.recorded", "gambeson.engines.local"])


def wait(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.001)


def children(process: int) -> list[int]:
    """Processes that its main thread started, the youngest last."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
