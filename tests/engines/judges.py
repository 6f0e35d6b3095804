"""Judges that engines are tried with, at the top of a module, as workers can import them."""

import os
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from processes import wait

from gambeson import machine
from gambeson.engines import Batch, Judge, Over, Take
from gambeson.errors import UserError

BATCHES = [Batch(number, rows) for number, rows in enumerate([[0, 1], [2], [3, 4], [5], [6], [7, 8]])]
EXPECTED = {row: row * row for row in range(9)}


def batches(order: list[Batch] = BATCHES) -> Take:
    waiting = iter(order)
    return lambda workers: next(waiting, None)


class Cores:
    """How many cores the worker may use."""

    def __call__(self, part: int, over: Over) -> int:
        return machine.cores()


@dataclass(frozen=True)
class Squares:
    """`before` is done first, in the worker; `load` is carried along."""

    before: Callable[[list[int]], None] | None = None
    load: bytes = b""

    def __call__(self, rows: list[int], over: Over) -> list[dict[str, Any]]:
        if self.before is not None:
            self.before(rows)
        known = {"process": os.getpid(), "threads": torch.get_num_threads()}
        return [{"square": row * row, **known} for row in rows]


@dataclass(frozen=True)
class CountDown:
    """Takes one from a number in each slice, as long as the slice lasts; `before` is done first."""

    before: Callable[[list[int]], None] | None = None

    def __call__(self, left: int, over: Over) -> int:
        if self.before is not None:
            self.before([left])
        left -= 1
        while left > 0 and not over():
            left -= 1
        return left


def counted_down(engine: Callable, judge: CountDown) -> tuple[int, list[int]]:
    """Numbers put in again until they are zero: how many slices that took, and what each found, each once."""
    waiting, at_work, found = deque([3, 8, 5]), {}, []
    numbers = count()

    def take(workers: int) -> Batch | None:
        if not waiting:
            return None
        number = next(numbers)
        at_work[number] = waiting.popleft()
        return Batch(number, at_work[number])

    for number, left, _ in engine(judge, take):
        assert left < at_work.pop(number)
        found.append(left)
        if left:
            waiting.appendleft(left)
    assert not waiting
    assert not at_work
    return len(found), found


@dataclass(frozen=True)
class DieOften:
    """Kills the worker that gets a row of `times`, as often as that says."""

    folder: Path
    times: tuple[tuple[int, int], ...]

    def __call__(self, rows: list[int]) -> None:
        row = rows[0]
        died = len(list(self.folder.glob(f"{row}-*")))
        if died < dict(self.times).get(row, 0):
            (self.folder / f"{row}-{died}").touch()
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class CannotBeRebuilt(Squares):
    def __setstate__(self, state: dict) -> None:
        raise OSError("the weights stayed at home")


@dataclass(frozen=True)
class TooLarge(Squares):
    def __setstate__(self, state: dict) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")


@dataclass(frozen=True)
class DieOnce:
    """Kills the worker that gets row 5, as the kernel would for want of memory; the first time, or always. It waits
    for a file `when`, if one is named.
    """

    mark: Path
    always: bool = False
    when: Path | None = None

    def __call__(self, rows: list[int]) -> None:
        if 5 in rows and (self.always or not self.mark.exists()):
            self.mark.touch()
            if self.when is not None:
                wait(self.when.exists)
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Remember:
    """Leaves a file for every batch that is begun."""

    folder: Path

    def __call__(self, rows: list[int]) -> None:
        (self.folder / f"{rows[0]}-{uuid4()}").touch()


@dataclass(frozen=True)
class WaitForCompany:
    """Whoever gets row 0 waits until another process is at work too."""

    folder: Path

    def __call__(self, rows: list[int]) -> None:
        (self.folder / str(os.getpid())).touch()
        if 0 in rows:
            wait(lambda: len(list(self.folder.iterdir())) >= 2)


@dataclass(frozen=True)
class SlowOnce:
    """Whoever gets row 2 first sleeps for two minutes."""

    mark: Path

    def __call__(self, rows: list[int]) -> None:
        if 2 in rows and not self.mark.exists():
            self.mark.touch()
            time.sleep(120)


@dataclass(frozen=True)
class HangOnNode:
    """Whoever is on this node of a Ray cluster does not end; the others wait until somebody is."""

    node: str
    mark: Path

    def __call__(self, rows: list[int]) -> None:
        import ray

        if ray.get_runtime_context().get_node_id() == self.node:
            self.mark.touch()
            time.sleep(600)
        wait(self.mark.exists)


@dataclass(frozen=True)
class WaitForTheOthers:
    """Whoever gets row 0 waits until all other batches have been begun."""

    folder: Path

    def __call__(self, rows: list[int]) -> None:
        (self.folder / str(rows[0])).touch()
        if 0 in rows:
            wait(lambda: len(list(self.folder.iterdir())) == len(BATCHES))


@dataclass(frozen=True)
class DieInTheMiddle:
    """`judge`, but once, from the fifth slice on, a worker dies before it gives back what it found."""

    judge: Judge
    folder: Path

    def __call__(self, part: Any, over: Over) -> Any:
        found = self.judge(part, over)
        (self.folder / str(uuid4())).touch()
        if len(list(self.folder.iterdir())) >= 5 and not (self.folder / "died").exists():
            (self.folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return found


def sleep_long(rows: list[int]) -> None:
    time.sleep(60 * (0 not in rows))


def large(size: int, over: Over) -> bytes:
    return bytes(size)


def refuse_seven(rows: list[int]) -> None:
    if 7 in rows:
        raise UserError("image 7 is a picture of nothing")


def squares(judged) -> dict[int, int]:
    found: dict[int, int] = {}
    for number, fields, seconds in judged:
        assert seconds >= 0
        rows = BATCHES[number].part
        assert not found.keys() & set(rows)
        found |= {row: each["square"] for row, each in zip(rows, fields, strict=True)}
    return found
