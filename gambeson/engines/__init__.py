"""Where parts of the data are judged: here, in processes of this machine, or on a cluster. Same records everywhere.

An engine takes a judge and numbered batches, and gives each number back once, with what was found and how long it took,
in the order in which they are done. It takes batches as it needs them, until there is none and nothing is at work: who
reads what it gives may have put another batch in before the next is asked for. A judge works for a slice of time; what
it has not finished by then comes back as it is, and whether it goes on is not the engine's business. A worker gets the
judge once, and no other data than its batches. The noise of an image depends on its key alone (`gambeson.keys`), hence
neither the engine, nor its number of workers, nor its slices can change a record.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any, NamedTuple

from gambeson.errors import UserError
from gambeson.interrupt import deferred

SLICE = 10.0  # seconds of work that a kill may cost
MANY = 200  # workers; more of them get longer slices, so that whoever hands these out keeps up
PATIENCE = 3.0  # seconds for which a stop waits for what is at work
ALONE = "use one process (--engine local --workers 1; in Python, leave engine out)"

Over = Callable[[], bool]  # whether the slice is over
Judge = Callable[[Any, Over], Any]  # a part of the data -> what was found; it may end early once the slice is over


class Batch(NamedTuple):
    number: int  # no two of an evaluation have the same
    part: Any
    title: str = ""  # what it is called where it makes trouble


class Judged(NamedTuple):
    number: int
    found: Any
    seconds: float


Take = Callable[[int], Batch | None]  # the next batch for one of so many workers, None where there is none now
Engine = Callable[[Judge, Take], Iterable[Judged]]


def never() -> bool:
    return False


def judged(judge: Judge, batch: Batch, slice_seconds: float, asked: Over = never) -> Judged:
    """One slice of work; it is over after `slice_seconds`, or as soon as `asked` says so."""
    start = perf_counter()
    found = judge(batch.part, lambda: asked() or perf_counter() - start >= slice_seconds)
    return Judged(batch.number, found, perf_counter() - start)


def lengthened(slice_seconds: float, workers: int) -> float:
    """Seconds of a slice where there are so many workers: of `SLICE`, 20 end in a second at most.

    >>> lengthened(SLICE, 200), lengthened(SLICE, 1_000)
    (10.0, 50.0)
    """
    return slice_seconds * max(1.0, workers / MANY)


def here(judge: Judge, take: Take, slice_seconds: float = SLICE) -> Iterator[Judged]:
    """In this process, one batch after another. A Ctrl-C or SIGTERM ends the slice and acts when it is given back."""
    while (batch := take(1)) is not None:
        with deferred(PATIENCE) as stop:
            done = judged(judge, batch, slice_seconds, stop.asked)
        yield done
        stop.obey()


def parcel(judge: Callable[..., Any]) -> bytes:
    """A judge, or the model that it will ask, as it is sent to other processes (ours, never read from a file)."""
    try:
        return pickle.dumps(judge)
    except Exception as error:
        raise UserError(
            f"this evaluation cannot be sent to other processes ({error}): of evaluations, only certify can; of "
            f"models, those whose class is defined at the top of a module; {ALONE}"
        ) from error
