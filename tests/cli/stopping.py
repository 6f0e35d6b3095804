"""Commands in processes that are stopped: forked from one that has imported torch, so that many can be."""

import functools
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gambeson.jsonl import read_lines
from gambeson.records import Run

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch", "gambeson.cli.recorded", "gambeson.engines.local"])
KILLED = -signal.SIGKILL
# Decided by the user, not by the clock: two runs are the same only in the same form.
FORM = ("--dtype", "float32", "--memory", "contiguous", "--batch", 200, "--threads", 1, "--no-compile")
PACE = 0.01  # seconds that a command which is to be stopped rests before a slice, lest it be done before the signal


def certify(
    run: Path,
    words: tuple,
    slice_seconds: float = 0.0,
    workers: int = 1,
    file_size: int | None = None,
    command: str = "certify",
    pace: float = 0.0,
) -> Any:
    """Begin `gambeson certify RUN WORDS`, or another command, with slices of that length; `log(run)` has its words."""
    process = CONTEXT.Process(target=_begin, args=([command, run, *words], slice_seconds, workers, file_size, pace))
    process.start()
    return process


def log(run: Path) -> str:
    return run.with_suffix(".log").read_text()


def stop(
    run: Path, words: tuple, seconds: float, *signals: signal.Signals, images: int = 0, **options: Any
) -> int | None:
    """Begin, wait until `images` are certified and new counts are there, and `seconds` more; send the signals; the exit
    status.
    """
    before, process = size(run), certify(run, words, **{"pace": PACE, **options})
    wait(lambda: (size(run) > before and certified(run) >= images) or not process.is_alive())
    time.sleep(seconds)
    for each in signals:
        if process.is_alive():
            os.kill(process.pid, each)
    process.join(60)
    return process.exitcode


def wait(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.001)


def size(run: Path) -> int:
    path = run / "partial.jsonl"
    return path.stat().st_size if path.exists() else 0


def certified(run: Path) -> int:
    return sum(line["evaluation"].startswith("certified") for line in read_lines(run / "records.jsonl"))


def drawn(run: Path) -> dict[tuple[int, str, int], list[int]]:
    """By image and ask, the draws that were counted, as the lines of the file tell them."""
    found: dict[tuple[int, str, int], list[int]] = {}
    for line in read_lines(run / "partial.jsonl"):
        for image in line["images"]:
            found.setdefault((image["index"], image["stage"], image["first"]), []).append(image["draws"])
    return found


def records(run: Path) -> list[dict[str, Any]]:
    found = sorted(Run.open(run).records(), key=lambda record: (record["evaluation"], record["index"]))
    return [{k: v for k, v in record.items() if k != "seconds"} for record in found]


def _begin(words: list, slice_seconds: float, workers: int, file_size: int | None, pace: float) -> None:
    from gambeson import cli
    from gambeson.engines import here
    from gambeson.engines.local import Local

    signal.signal(signal.SIGINT, signal.default_int_handler)
    file = os.open(words[1].with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    engine = functools.partial(here, slice_seconds=slice_seconds) if workers == 1 else Local(workers, slice_seconds)
    cli.certify.engine_for = lambda *chosen: lambda judge, take: engine(judge, lambda n: time.sleep(pace) or take(n))
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    sys.argv = ["gambeson", *map(str, words)]
    cli.main()
