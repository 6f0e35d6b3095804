"""Progress with a rate and the time left: a bar on a terminal, a plain line every ten seconds elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Tick = Callable[..., None]  # (completed, note)
EVERY = 10.0


@contextmanager
def progress(title: str, total: int, unit: str = "images", done: int = 0) -> Iterator[Tick]:
    """`tick(completed, note)`: how many of `total` are done by now, and a word on how it goes."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(title, total=total, completed=done, note="")
            start = perf_counter()

            def tick(completed: int, note: str = "") -> None:
                rate = (completed - done) / max(1e-9, perf_counter() - start)
                bar.update(task, completed=completed, note=f"{rate:,.1f} {unit}/s {note}")

            yield tick
        return

    start, told = perf_counter(), perf_counter()

    def line(completed: int, note: str = "") -> None:
        nonlocal told
        now = perf_counter()
        if now - told < EVERY and completed < total:
            return
        told, rate = now, (completed - done) / max(1e-9, now - start)
        left = timedelta(seconds=round((total - completed) / rate)) if rate > 0 else "?"
        print(
            f"{title}: {completed}/{total}, {rate:,.1f} {unit}/s, {left} left {note}".rstrip(),
            file=sys.stderr,
            flush=True,
        )

    yield line
