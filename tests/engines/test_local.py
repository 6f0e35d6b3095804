"""Processes of this machine: every batch once, whoever dies; nobody is left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from multiprocessing import util
from pathlib import Path
from threading import Thread

import pytest
import torch
from judges import (
    BATCHES,
    EXPECTED,
    CannotBeRebuilt,
    Cores,
    CountDown,
    DieOften,
    DieOnce,
    Squares,
    TooLarge,
    WaitForCompany,
    WaitForTheOthers,
    batches,
    counted_down,
    large,
    refuse_seven,
    sleep_long,
    squares,
)
from processes import children, wait

from gambeson import machine
from gambeson.engines import Batch, here
from gambeson.engines.local import ATTEMPTS, Local
from gambeson.errors import RunError, UserError

pytestmark = pytest.mark.usefixtures("forked_workers")


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_judged_does_not_depend_on_the_engine(workers: int) -> None:
    assert squares(here(Squares(), batches())) == EXPECTED
    assert squares(Local(workers)(Squares(), batches())) == EXPECTED
    assert multiprocessing.active_children() == []


def test_the_work_is_done_by_other_processes_with_the_threads_of_this_one(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # other processes begin with one
    try:
        fields = [each for judged in Local(2)(Squares(WaitForCompany(tmp_path)), batches()) for each in judged.found]
    finally:
        torch.set_num_threads(before)
    assert os.getpid() not in {each["process"] for each in fields}
    assert {each["threads"] for each in fields} == {2}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("slice_seconds", [0.0, 1000.0])
def test_what_is_put_in_again_goes_on(tmp_path: Path, slice_seconds: float) -> None:
    """One number less in each slice where they are short: 3 + 8 + 5 slices, whoever dies; else one for each."""
    slices = 3 + 8 + 5 if slice_seconds == 0 else 3
    mark = tmp_path / "died"
    workers = Local(2, slice_seconds), CountDown(DieOnce(mark))
    for engine, judge in ((partial(here, slice_seconds=slice_seconds), CountDown()), workers):
        found, left = counted_down(engine, judge)
        assert found == slices
        assert left.count(0) == 3
    assert mark.exists()


def test_a_signal_ends_the_slice_and_acts_when_it_is_given_back() -> None:
    def judge(left: int, over) -> int:
        signal.raise_signal(signal.SIGINT)
        while not over():
            left -= 1
        return left

    given = here(judge, lambda workers: Batch(0, 5))
    assert next(given)[:2] == (0, 5)
    with pytest.raises(KeyboardInterrupt):
        next(given)


def test_a_straggler_holds_nobody_up(tmp_path: Path) -> None:
    order = [judged.number for judged in Local(2)(Squares(WaitForTheOthers(tmp_path)), batches())]
    assert 0 in order[-3:]  # of what is handed out last, any may be told first


def test_a_dead_workers_batches_are_done_again(tmp_path: Path) -> None:
    mark = tmp_path / "died"
    assert squares(Local(2)(Squares(DieOnce(mark)), batches())) == EXPECTED
    assert mark.exists()


def test_a_worker_that_dies_while_nobody_looks_costs_no_batch(tmp_path: Path) -> None:
    """The pool says so when it is given the next batch."""
    died, now = tmp_path / "died", tmp_path / "now"
    judged = Local(2)(Squares(DieOnce(died, when=now)), batches(BATCHES[3:] + BATCHES[:3]))  # who gets row 5 is waiting
    found = [next(judged)]
    now.touch()
    wait(lambda: not multiprocessing.active_children())
    assert squares([*found, *judged]) == EXPECTED


def test_a_worker_that_cannot_rebuild_the_model_says_why() -> None:
    with pytest.raises(UserError, match=r"cannot rebuild the model .*stayed at home.* leave engine out"):
        list(Local(2)(CannotBeRebuilt(), batches()))


def test_a_worker_whose_model_does_not_fit_into_memory_says_that() -> None:
    """It is no mistake of the user's: who hears of it may make the calls smaller."""
    with pytest.raises(torch.OutOfMemoryError):
        list(Local(2)(TooLarge(), batches()))


def test_workers_that_keep_dying_are_given_up(tmp_path: Path) -> None:
    judged = Local(2)(Squares(DieOnce(tmp_path / "died", always=True)), batches())
    with pytest.raises(RunError, match=r"workers died 3 times at .*batch 3.*__main__.* fewer --workers"):
        list(judged)


def test_what_nobody_had_yet_is_not_blamed_for_a_death(tmp_path: Path) -> None:
    """One worker: while it dies twice of the first batch and once of the second, the other one waits."""
    judged = Local(1)(Squares(DieOften(tmp_path, ((0, 2), (2, 1)))), batches())
    assert squares(judged) == EXPECTED
    assert len(list(tmp_path.iterdir())) == 3


def test_the_judges_own_errors_arrive_as_they_are() -> None:
    with pytest.raises(UserError, match="image 7 is a picture of nothing"):
        list(Local(2)(Squares(refuse_seven), batches()))
    assert multiprocessing.active_children() == []


def test_an_abandoned_evaluation_leaves_no_process() -> None:
    judged = Local(2)(Squares(sleep_long), batches())
    assert next(judged).number == 0
    judged.close()
    assert multiprocessing.active_children() == []


def test_an_abandoned_evaluation_does_not_wait_for_the_rest_of_an_answer() -> None:
    """Two workers are writing large answers all the time when they have to leave."""
    numbers = count()
    judged = Local(2)(large, lambda workers: Batch(next(numbers), 20_000_000))
    for _ in range(4):
        next(judged)
    closing = Thread(target=judged.close, daemon=True)
    closing.start()
    closing.join(60)
    assert not closing.is_alive()


def test_what_cannot_be_sent_is_refused_before_anything_starts() -> None:
    with pytest.raises(UserError, match=r"cannot be sent to other processes .* top of a module; use one process"):
        next(Local(2)(lambda rows, over: [], batches()))


def test_no_workers_are_refused() -> None:
    with pytest.raises(UserError, match="workers is 0"):
        Local(0)


PARENT = """
import sys
from contextlib import closing
sys.path[:0] = {folders!r}
from judges import Squares, batches, sleep_long
from gambeson.engines.local import Local
if __name__ == "__main__":
    with closing(Local(2)({judge}, batches())) as found:
        for judged in found:
            print(judged.found[0]["process"], flush=True)
"""


@pytest.fixture
def parent(tmp_path: Path) -> Callable[[str], subprocess.Popen]:
    """A function that begins a process with two workers, all of them spawned; it tells who judged each batch."""

    def begin(judge: str) -> subprocess.Popen:
        script = tmp_path / "parent.py"
        script.write_text(PARENT.format(folders=[str(folder) for folder in Path(__file__).parents[:2]], judge=judge))
        return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)

    return begin


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_leave_when_their_parent_is_gone(parent, how: signal.Signals) -> None:
    running = parent("Squares(sleep_long)")
    worker = int(running.stdout.readline())
    running.send_signal(how)
    running.wait(60)
    wait(lambda: not Path(f"/proc/{worker}").exists())


def test_a_worker_that_dies_before_it_has_its_judge_is_replaced(parent) -> None:
    """A judge that is more than a pipe holds. The first child keeps account of semaphores, the second is a worker."""
    running = parent("Squares(load=bytes(10**6))")
    wait(lambda: len(children(running.pid)) >= 2)
    os.kill(children(running.pid)[1], signal.SIGKILL)
    try:
        told, _ = running.communicate(timeout=60)
    finally:
        running.kill()
    assert (running.returncode, len(told.split())) == (0, len(BATCHES))


@pytest.mark.parametrize("packed", [False, True])
def test_a_worker_that_dies_while_another_is_started_is_replaced(monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    """The pool closes its queue, which the new one is given: before that is packed, or when its file's number is known
    and given to another file.
    """
    spawn, start, spawned = ProcessPoolExecutor._spawn_process, util.spawnv_passfds, []

    if packed:  # workers that are forked inherit none of these files
        monkeypatch.setattr("gambeson.engines.local.get_context", multiprocessing.get_context)

    def broken(pool: ProcessPoolExecutor) -> None:
        for process in pool._processes.values():
            process.kill()
        wait(lambda: pool._call_queue._reader.closed)

    def late(pool: ProcessPoolExecutor) -> None:
        spawned.append(pool)
        if len(spawned) == 2 and not packed:
            broken(pool)
        spawn(pool)

    def started(path, args, files):
        if len(spawned) == 2 and packed:
            broken(spawned[0])
            files = [*files, files[-1]]
        return start(path, args, files)

    monkeypatch.setattr(ProcessPoolExecutor, "_spawn_process", late)
    monkeypatch.setattr(util, "spawnv_passfds", started)
    assert squares(Local(2)(Squares(), batches())) == EXPECTED
    assert len(spawned) == 4


@pytest.mark.parametrize("error", [OSError("handle is closed"), ValueError("bad value(s) in fds_to_keep")])
def test_a_pool_that_never_takes_a_batch_is_given_up(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    tried = []

    def submit(*_):
        tried.append(error)
        raise error

    monkeypatch.setattr(ProcessPoolExecutor, "submit", submit)
    with pytest.raises(RunError, match=r"workers died 3 times at batch 0 "):
        next(Local(2)(Squares(), batches()))
    assert len(tried) == ATTEMPTS


def test_workers_share_the_cores(monkeypatch) -> None:
    """A worker that took the others' cores for its noise would make them wait."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(6)))
    monkeypatch.setattr(machine, "_processes", 1)
    assert machine.cores() == 6
    for processes, share in ((2, 3), (4, 1), (9, 1)):
        machine.share_cores(processes)
        assert machine.cores() == share


def test_each_worker_knows_its_share_of_the_cores() -> None:
    workers = machine.cores()
    left = [Batch(number, number) for number in range(4)]
    found = Local(workers)(Cores(), lambda workers: left.pop() if left else None)
    assert [judged.found for judged in found] == [1] * 4


@pytest.mark.parametrize(("named", "expected"), [(None, ["0", "2"]), ("7,1,5,3", ["7", "5"]), ("", [])])
def test_workers_are_put_on_gpus_of_one_kind(monkeypatch: pytest.MonkeyPatch, named: str | None, expected) -> None:
    kinds = [] if named == "" else ["large", "small", "large"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(kinds))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: kinds[place])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert machine.gpus_of_one_kind() == expected


def test_a_model_on_the_cpu_starts_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gambeson.engines.local.gpus_of_one_kind", lambda: pytest.fail("CUDA was started"))
    assert squares(Local(1, device="cpu")(Squares(), batches())) == EXPECTED
