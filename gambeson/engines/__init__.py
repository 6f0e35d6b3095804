"""Where batches of images are judged: here, in processes of this machine, or on a cluster. Same records everywhere.

An engine takes a judge and numbered batches, and gives each number back once, with what was judged and how long it
took, in the order in which they are done. It takes batches as it needs them; a worker gets the judge once, and no other
data than its batches. The noise of an image depends on its key alone (`gambeson.keys`), hence neither the engine nor
its number of workers can change a record.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any, NamedTuple

from gambeson.errors import UserError

Judge = Callable[[Any], list[dict[str, Any]]]  # a part of the data -> one record's fields per image


class Batch(NamedTuple):
    number: int
    part: Any
    title: str = ""  # what it is called where it makes trouble


class Judged(NamedTuple):
    number: int
    fields: list[dict[str, Any]]  # one per image
    seconds: float


Engine = Callable[[Judge, Iterable[Batch]], Iterable[Judged]]


def judged(judge: Judge, batch: Batch) -> Judged:
    start = perf_counter()
    fields = judge(batch.part)
    return Judged(batch.number, fields, perf_counter() - start)


def here(judge: Judge, batches: Iterable[Batch]) -> Iterator[Judged]:
    """In this process, one batch after another."""
    for batch in batches:
        yield judged(judge, batch)


def parcel(judge: Judge) -> bytes:
    """A judge as it is sent to other processes (ours, never read from a file)."""
    try:
        return pickle.dumps(judge)
    except Exception as error:
        raise UserError(
            f"this evaluation cannot be sent to other processes ({error}): of evaluations, only certify can; of "
            "models, those whose class is defined at the top of a module; use one worker"
        ) from error
