"""Where batches of images are judged: here, in processes of this machine, or on a cluster. Same records everywhere.

An engine takes a judge and batches of rows, and gives each batch back once, with what was judged and how long it took,
in the order in which they are done. The noise of an image depends on its key alone (`gambeson.keys`), hence neither
the engine nor its number of workers can change a record.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import torch

from gambeson.errors import UserError

Rows = list[int]
Judge = Callable[[torch.Tensor], list[dict[str, Any]]]  # rows of the data -> one record's fields per row


class Judged(NamedTuple):
    rows: Rows
    fields: list[dict[str, Any]]  # one per row
    seconds: float


Engine = Callable[[Judge, Sequence[Rows]], Iterable[Judged]]


def judged(judge: Judge, rows: Rows) -> Judged:
    start = perf_counter()
    fields = judge(torch.tensor(rows))
    return Judged(rows, fields, perf_counter() - start)


def here(judge: Judge, batches: Sequence[Rows]) -> Iterator[Judged]:
    """In this process, one batch after another."""
    for rows in batches:
        yield judged(judge, rows)


def parcel(judge: Judge) -> bytes:
    """A judge as it is sent to other processes (ours, never read from a file)."""
    try:
        return pickle.dumps(judge)
    except Exception as error:
        raise UserError(
            f"the model cannot be sent to other processes ({error}); define its class at the top of a module, or "
            "use one worker"
        ) from error
