"""Commands that are stopped, where no clock decides how far they come: they wait for their signal."""

import functools
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any

from processes import CONTEXT, wait

from gambeson.jsonl import read_lines
from gambeson.records import Run

KILLED = -signal.SIGKILL
# Decided by the user, not by the clock: two runs are the same only in the same form.
FORM = ("--dtype", "float32", "--memory", "contiguous", "--batch", 200, "--threads", 1, "--no-compile")
MORE, PACE = 5, 0.01  # slices that it may do until the signal comes, and seconds that it rests before each

Ready = Callable[[], bool]


@contextmanager
def begun(run: Path, words: tuple, command: str = "certify", **options: Any) -> Iterator[Any]:
    """`gambeson COMMAND RUN WORDS` in a process, with the options of `_begin`; `log(run)` has what it says."""
    process = CONTEXT.Process(target=_begin, args=([command, run, *words],), kwargs=options)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def finish(run: Path, words: tuple, **options: Any) -> None:
    with begun(run, words, **options) as process:
        process.join(300)
        assert process.exitcode == 0, log(run)
    assert not (run / "partial.jsonl").exists()


def stop(
    run: Path, words: tuple, how: signal.Signals, ready: Ready | None = None, seconds: float = 0.0, **options: Any
) -> int | None:
    """Begin, wait until it is `ready` to be stopped (None: it has counted something), and `seconds` more; the exit
    status.
    """
    ready = ready or functools.partial(counted, run, size(run))
    with begun(run, words, ready=ready, **options) as process:
        wait(lambda: ready() or not process.is_alive())
        time.sleep(seconds)
        if process.is_alive():  # it ends by itself where there is less to do than it may
            os.kill(process.pid, how)
        process.join(120)
        return process.exitcode


def counted(run: Path, before: int = 0, images: int = 0) -> bool:
    """Whether so many images are certified, and there are more bytes about others than before."""
    return size(run) > before and certified(run) >= images


def attacked(run: Path) -> bool:
    return bool(list(run.glob("adversarial/*.safetensors")))


def log(run: Path) -> str:
    return run.with_suffix(".log").read_text()


def sign(run: Path, of: str) -> Path:
    """There as soon as a slice has called the model ("call"), or was asked to end ("signal")."""
    return run.with_suffix(f".{of}")


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


def _begin(
    words: list,
    engine: str = "here",
    slice_seconds: float = 0.0,
    file_size: int | None = None,
    ready: Ready | None = None,
    more: int = MORE,
    stubborn: bool = False,
) -> None:
    """ready: when it may be stopped; it does `more` slices from then on, and waits. stubborn: slices do not end when
    they should.
    """
    from gambeson import cli, engines
    from gambeson.cli import recorded
    from gambeson.inference import rate

    run = words[1]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    file = os.open(run.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    rate.SECONDS = 0.0  # there is only one form
    engines.PATIENCE = 1000.0  # nothing is lost because the machine is slow
    hold = functools.partial(_Hold, ready, more)
    recorded.here = chosen = functools.partial(_in_the_slice, hold, run, slice_seconds, stubborn)
    if engine != "here":
        chosen = functools.partial(_between_slices, hold, _several(engine, slice_seconds))
    cli.certify.engine_for = lambda *wished: chosen
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    sys.argv = ["gambeson", *map(str, words)]
    cli.main()


def _several(engine: str, slice_seconds: float) -> Any:
    from gambeson.engines.local import Local
    from gambeson.engines.ray_cluster import RayCluster
    from gambeson.inference import Form

    return Local(2, slice_seconds) if engine == "local" else RayCluster(Form(threads=1), None, 2, slice_seconds)


class _Hold:
    """Of one evaluation: whether it has come so far that it waits for its signal."""

    def __init__(self, ready: Ready | None, more: int) -> None:
        self.ready, self.left = ready, more

    def reached(self) -> bool:
        """Asked once a slice."""
        if self.ready is None:
            return False
        time.sleep(PACE)
        self.left -= self.ready()
        return self.left < 0


def _in_the_slice(
    new: Callable[[], _Hold], run: Path, slice_seconds: float, stubborn: bool, judge: Any, take: Any
) -> Any:
    """In this process: a slice leaves signs of what it does, and the last one lasts until the signal."""
    from gambeson.engines import here

    hold = new()

    def held(work: Any, signalled: Callable[[], bool]) -> Any:
        end = time.monotonic() + slice_seconds

        def over() -> bool:
            sign(run, "call").touch()
            if signalled():
                sign(run, "signal").touch()
            return (signalled() and not stubborn) or time.monotonic() >= end

        found, waits = judge(work, over), hold.reached()
        while waits and not signalled():
            time.sleep(PACE)
        return found

    return here(held, take, slice_seconds=inf)


def _between_slices(new: Callable[[], _Hold], engine: Any, judge: Any, take: Any) -> Any:
    """`engine` of several workers: from some slice on they get nothing more to do."""
    hold = new()

    def held(workers: int) -> Any:
        while hold.reached():
            pass
        return take(workers)

    return engine(judge, held)
