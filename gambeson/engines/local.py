"""Processes of this machine, each with a model of its own; a free one takes the next batch."""

import os
import pickle
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from multiprocessing.reduction import DupFd
from tempfile import TemporaryFile
from threading import Event, Thread
from time import sleep
from typing import Any

import torch

from gambeson.allocator import keep_freed_memory
from gambeson.engines import ALONE, PATIENCE, SLICE, Batch, Judge, Judged, Take, judged, parcel
from gambeson.errors import RunError, UserError, out_of_memory
from gambeson.interrupt import uninterrupted
from gambeson.machine import gpus_of_one_kind, share_cores

ATTEMPTS = 3  # times that a batch may be at work when a worker dies


class _Died(Exception):
    """A worker did; which of `at_work` it had, nobody knows."""

    def __init__(self, at_work: list[Batch]) -> None:
        self.at_work = at_work


@dataclass(frozen=True)
class Local:
    """workers: processes. Each uses as many threads as torch has here: together they should not exceed the cores.

    slice_seconds: of work that a worker which dies may cost, and a stop of the run.

    device: where the model runs; "cpu" starts no CUDA.

    With CUDA, worker k sees the k-th of the visible GPUs of the first one's kind only, counted modulo their number.
    """

    workers: int
    slice_seconds: float = SLICE
    device: str = "cuda"

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UserError(f"workers is {self.workers}; it must be at least 1")

    def __call__(self, judge: Judge, take: Take) -> Iterator[Judged]:
        """Every batch once, as they are done. What the workers were at when one of them died is done again."""
        sent, waiting, deaths = _Lent(parcel(judge)), _Waiting(take), Counter[int]()
        while True:
            try:
                yield from self._pool(sent, waiting)
                return
            except _Died as died:
                deaths.update(batch.number for batch in died.at_work)
                often = [batch for batch in died.at_work if deaths[batch.number] == ATTEMPTS]
                if often:
                    where = " or ".join(batch.title or f"batch {batch.number}" for batch in often)
                    raise RunError(
                        f"workers died {ATTEMPTS} times at {where} (too little memory for {self.workers} models? a "
                        "script without `if __name__ == '__main__':`?); what is recorded is kept: go on with fewer "
                        "--workers"
                    ) from None

    def _pool(self, sent: "_Lent", waiting: "_Waiting") -> Iterator[Judged]:
        """Work until nothing waits; what was begun and not done waits again when the pool breaks."""
        spawn = get_context("spawn")  # a fork would share OpenMP's threads and CUDA's state with the parent
        # Its closing tells the workers to leave, and it closes even if this process is killed.
        alive, kept_open = spawn.Pipe(duplex=False)
        gpus = spawn.SimpleQueue()
        visible = [] if self.device == "cpu" else gpus_of_one_kind()
        for worker in range(self.workers):
            gpus.put(visible[worker % len(visible)] if visible else None)
        begin: Any = (sent, torch.get_num_threads(), self.workers, alive, gpus)
        running: dict[Future[Judged], Batch] = {}
        pool = ProcessPoolExecutor(self.workers, spawn, _begin, begin)
        try:
            while True:
                # One ahead, so that no worker waits for this loop.
                while len(running) < self.workers + 1 and (batch := waiting.take(self.workers)) is not None:
                    try:
                        running[_submitted(pool, batch, self.slice_seconds)] = batch
                    except BrokenProcessPool:  # it says so when it is given work; what was done before comes first
                        waiting.returned.appendleft(batch)
                        if not running:
                            raise
                        break
                if not running:
                    return
                done = wait(running, return_when=FIRST_COMPLETED).done
                for future in sorted(done, key=lambda one: one.exception() is not None):
                    found = future.result()
                    del running[future]
                    yield found
        except BaseException as error:
            waiting.returned.extend(running.values())
            kept_open.close()
            if isinstance(error, BrokenProcessPool):
                # Workers take batches in the order in which they were sent: what nobody had yet is at the end. Where
                # nobody had any, it was the next that could not be sent.
                raise _Died(list(running.values())[: self.workers] or [waiting.returned[0]]) from None
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            kept_open.close()
            alive.close()


def _submitted(pool: ProcessPoolExecutor, batch: Batch, slice_seconds: float) -> Future[Judged]:
    sent = pickle.dumps(batch)
    try:
        with uninterrupted():  # a worker may be started
            return pool.submit(_judge, sent, slice_seconds)
    except (OSError, ValueError) as error:
        # A pool closes its queue when it breaks, even under a new worker (CPython 3.11): "handle is closed" or, when
        # the number of the closed file is another's by now, "bad value(s) in fds_to_keep".
        if getattr(error, "errno", None) is None:
            raise BrokenProcessPool(str(error)) from error
        raise


class _Lent:
    """Bytes that arrive in other processes as they are, in a file without a name. A process that is started with more
    than a pipe holds, and dies before it has read it, is waited for without end.
    """

    def __init__(self, content: bytes) -> None:
        self.file = TemporaryFile()  # noqa: SIM115 (it lasts as long as this does)
        self.file.write(content)
        self.file.flush()

    def __reduce__(self) -> tuple[Callable[[Any], mmap], tuple[Any]]:
        return _arrived, (DupFd(self.file.fileno()),)


def _arrived(descriptor: Any) -> mmap:
    with open(descriptor.detach(), "rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ)


class _Waiting:
    """Batches that nobody has, those first that came back undone."""

    def __init__(self, fresh: Take) -> None:
        self.fresh = fresh
        self.returned: deque[Batch] = deque()

    def take(self, workers: int) -> Batch | None:
        return self.returned.popleft() if self.returned else self.fresh(workers)


_own: Judge | Exception  # a worker's judge, unpacked once, or why it could not be
_leaving = Event()  # of a worker


def _begin(sent: mmap, threads: int, workers: int, alive: Connection, gpus: "SimpleQueue[str | None]") -> None:
    """A worker's start. It leaves when `alive` closes; a Ctrl-C is the parent's business."""
    global _own
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_leave_when_closed, args=(alive,), daemon=True).start()
    if (gpu := gpus.get()) is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    keep_freed_memory()
    torch.set_num_threads(threads)
    share_cores(workers)
    try:
        _own = pickle.loads(sent)
    except Exception as error:  # told by the first batch: a worker that fails to start breaks the pool without a word
        _own = error


def _leave_when_closed(alive: Connection) -> None:
    """Between two calls of the model, if that is soon: the parent would wait for ever for the rest of a torn answer."""
    alive.poll(None)
    _leaving.set()
    sleep(PATIENCE)
    os._exit(1)


def _judge(batch: bytes, slice_seconds: float) -> Judged:
    """Of bytes: tensors would be sent as open files in shared memory, which a worker that dies leaves behind."""
    if isinstance(_own, Exception):
        if out_of_memory(_own):
            raise _own
        raise UserError(f"a worker cannot rebuild the model ({type(_own).__name__}: {_own}); {ALONE}")
    return judged(_own, pickle.loads(batch), slice_seconds, _leaving.is_set)
