"""Progress with rates and the time left: a bar on a terminal, a plain line every ten seconds elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

Tick = Callable[..., None]  # (completed, note, **amounts)
EVERY = 10.0


@contextmanager
def progress(title: str, total: int, unit: str = "images", done: int = 0, draws: float | None = None) -> Iterator[Tick]:
    """`tick(completed, note, draws=n)`: how many of `total` are done by now, a word on how it goes, and other amounts
    since the start, each of which is shown as a rate. draws: how many it will take, by an estimate: the time left is
    told by it as long as nothing is completed.
    """
    console, start = Console(stderr=True), perf_counter()

    def tick(completed: int, note: str = "", **amounts: int) -> None:
        seconds = max(1e-9, perf_counter() - start)
        told = [f"{amount / seconds:,.0f} {name}/s" for name, amount in amounts.items()]
        if completed > done:
            rate = (completed - done) / seconds
            pace = f"{rate:,.1f} {unit}/s" if rate >= 0.1 else f"{60 * rate:,.1f} {unit}/min"
            told = [pace, *told, f"{_time((total - completed) / rate)} left"]
        elif draws is not None and 0 < amounts.get("draws", 0) < draws:
            told.append(f"about {_time(seconds * (draws / amounts['draws'] - 1))} left")
        show(completed, ", ".join([*told, *([note] if note else [])]))

    with _bar(console, title, total, done) if console.is_terminal else _lines(title, total) as show:
        yield tick


def _time(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))


@contextmanager
def _bar(console: Console, title: str, total: int, done: int) -> Iterator[Callable[[int, str], None]]:
    two_lines = "{task.description}: {task.completed}/{task.total}\n{task.fields[state]}"  # one is over 80 columns
    with Progress(TextColumn(two_lines), BarColumn(20), console=console) as bar:
        task = bar.add_task(title, total=total, completed=done, state="")
        yield lambda completed, state: bar.update(task, completed=completed, state=state)


@contextmanager
def _lines(title: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """By a thread: what is done together is shown together, not when its first image arrives."""
    latest, ended = "", Event()

    def show(completed: int, state: str) -> None:
        nonlocal latest
        latest = f"{title}: {completed}/{total}, {state}"

    def tell() -> None:
        told, over = "", False
        while not over:
            over = ended.wait(EVERY)
            if (line := latest) != told:
                print(line, file=sys.stderr, flush=True)
                told = line

    thread = Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield show
    finally:
        ended.set()
        thread.join()
