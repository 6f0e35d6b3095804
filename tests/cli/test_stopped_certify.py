"""Stopped inside an image, however and however often: the counts are kept, and the records are those of one run."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import pytest
from processes import children, wait
from safetensors.torch import load_file
from stopping import FORM, KILLED, attacked, begun, counted, drawn, finish, log, records, sign, size, stop

from gambeson.jsonl import read_lines
from gambeson.records import Run

COMMON = ("--noise", "gaussian:0.25", "--select-draws", 50, *FORM)
FIXED = (*COMMON, "--budget", "fixed", "--draws", 2_000, "--limit", 4)
GRID = (*COMMON, "--radii", "0,0.25,0.4", "--draws", 2_000, "--limit", 12)
ONE = (*COMMON, "--budget", "fixed", "--draws", 4_000, "--limit", 1)
LONG = (*COMMON, "--budget", "fixed", "--draws", 200_000, "--limit", 1)
ENDLESS = (*COMMON, "--budget", "fixed", "--draws", 10**9, "--limit", 1)
ATTACK = ("--noise", "gaussian:0.25", "--steps", 2, "--attack-draws", 4, "--predict-draws", 50, "--limit", 60)
ATTACK = (*ATTACK, *FORM, "--batch", 50)
RAY = pytest.param("ray", marks=pytest.mark.long)
SIGNALS = pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture(scope="session")
def whole(_trained_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A run of these words that was never stopped."""

    @cache
    def done(words: tuple, command: str = "certify") -> Path:
        run = Path(shutil.copytree(_trained_once, tmp_path_factory.mktemp("whole") / "run"))
        finish(run, words, command=command, slice_seconds=1000.0)
        return run

    return done


def kept(run: Path) -> int:
    """How many draws are counted; they grow from line to line, so that none is done twice and none lost."""
    found = drawn(run)
    assert all(a < b for draws in found.values() for a, b in pairwise(draws)), found
    return sum(draws[-1] for draws in found.values())


def start_again(run: Path) -> None:
    """As if the run had never been evaluated."""
    for path in (run / "records.jsonl", run / "forms.json", *run.glob("evaluations/*")):
        path.unlink(missing_ok=True)


def killed_at_random_moments(run: Path, words: tuple, expected: list, kills: int, pause: float, **options) -> None:
    moments = random.Random(0)
    for _ in range(kills):
        # It may end by itself, or be killed when the last record is written and only its process is left.
        while (status := stop(run, words, signal.SIGKILL, seconds=moments.uniform(0, pause), **options)) == 0 or (
            status == KILLED and not size(run)
        ):
            assert records(run) == expected
            start_again(run)
        assert status == KILLED, log(run)
        assert kept(run) > 0
    finish(run, words)
    assert records(run) == expected


@pytest.mark.parametrize(("words", "engine", "kills"), [(FIXED, "here", 3), (GRID, "here", 2), (GRID, "local", 1)])
def test_killed_at_random_moments(run: Path, whole, words: tuple, engine: str, kills: int) -> None:
    killed_at_random_moments(run, words, records(whole(words)), kills, 0.05, engine=engine)


@pytest.mark.long
@pytest.mark.parametrize("engine", ["here", "local"])
@pytest.mark.parametrize("words", [FIXED, GRID], ids=["fixed", "grid"])
def test_killed_at_a_hundred_random_moments(run: Path, whole, words: tuple, engine: str) -> None:
    killed_at_random_moments(run, words, records(whole(words)), 100, 0.3, engine=engine, more=30)


@pytest.mark.long
@pytest.mark.parametrize(("engine", "kills"), [("here", 40), ("local", 12)])
def test_killed_at_any_moment_of_its_life(run: Path, whole, engine: str, kills: int) -> None:
    """While it begins, writes down what was asked, or drops what it kept: a kill may come before it has counted."""
    moments, expected, ended = random.Random(0), records(whole(FIXED)), 0
    begin = time.monotonic()
    finish(run, FIXED, engine=engine)
    life = time.monotonic() - begin
    start_again(run)
    for _ in range(kills):
        with begun(run, FIXED, engine=engine) as process:
            process.join(moments.uniform(0, life))
            process.kill()
            process.join()
            assert process.exitcode in (0, KILLED), log(run)
        if process.exitcode == 0:
            assert records(run) == expected
            start_again(run)
            ended += 1
    assert ended < kills
    finish(run, FIXED)
    assert records(run) == expected


@SIGNALS
@pytest.mark.parametrize("engine", ["here", "local", RAY])
def test_signals_end_the_run_with_one_clear_line(run: Path, whole, how: signal.Signals, engine: str) -> None:
    assert stop(run, FIXED, how, engine=engine) == 128 + how
    assert "stopped; what is recorded is kept, and the same command goes on from there" in log(run)
    assert "Traceback" not in log(run)
    assert kept(run) > 0
    finish(run, FIXED)  # with whatever engine
    assert records(run) == records(whole(FIXED))


def test_a_second_signal_acts_at_once(run: Path) -> None:
    """The slice would go on for ever."""
    with begun(run, ENDLESS, slice_seconds=1000.0, stubborn=True) as process:
        wait(sign(run, "call").exists)
        os.kill(process.pid, signal.SIGTERM)
        wait(sign(run, "signal").exists)
        os.kill(process.pid, signal.SIGINT)
        process.join(120)
        assert process.exitcode == 128 + signal.SIGINT
    assert "the same command goes on" in log(run)
    assert "Traceback" not in log(run)
    assert size(run) == 0  # the slice at work is lost


def test_what_was_stopped_twice_ends_with_the_records_of_one_run(run: Path, whole) -> None:
    with begun(run, LONG, slice_seconds=1000.0, stubborn=True) as process:
        wait(sign(run, "call").exists)
        for how in (signal.SIGINT, signal.SIGINT):
            os.kill(process.pid, how)
            time.sleep(0.05)
        process.join(120)
        assert process.exitcode == 128 + signal.SIGINT, log(run)
    finish(run, LONG, slice_seconds=1000.0)
    assert records(run) == records(whole(LONG))


@SIGNALS
def test_what_is_at_work_when_the_signal_comes_is_kept(run: Path, how: signal.Signals) -> None:
    """A slice would last for a quarter of an hour; nothing is on the disk before the signal."""
    with begun(run, ENDLESS, slice_seconds=1000.0) as process:
        wait(sign(run, "call").exists)
        assert size(run) == 0
        os.kill(process.pid, how)
        process.join(120)
        assert process.exitcode == 128 + how
    assert 0 < (before := kept(run)) < 10**9
    assert stop(run, ENDLESS, signal.SIGKILL) == KILLED
    assert kept(run) > before


def test_ctrl_c_in_a_terminal(process, run: Path) -> None:
    """The command as it is typed, in an interpreter of its own."""
    running = process("certify", run, *ENDLESS, "--workers", 1)
    for line in running.stderr:
        if "draws/s" in line:  # what is ahead is told, and begins
            break
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=120)
    assert running.returncode == 128 + signal.SIGINT
    assert "the same command goes on" in told
    assert "Traceback" not in told


@SIGNALS
@pytest.mark.parametrize("later", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_signal_to_the_whole_group(process, run: Path, whole, how: signal.Signals, later: bool) -> None:
    """As a terminal sends Ctrl-C, and batch systems SIGTERM: while the first worker begins, beside who keeps account of
    semaphores, or when the work is under way.
    """
    words = ENDLESS if later else FIXED
    running = process("certify", run, *words, "--workers", 2, start_new_session=True)
    wait(lambda: size(run) > 0 if later else len(children(running.pid)) >= 2)
    time.sleep(0.5)  # importing takes longer
    os.killpg(running.pid, how)
    _, told = running.communicate(timeout=120)
    assert running.returncode == 128 + how, told
    *_, last = told.strip().splitlines()
    assert last == "stopped; what is recorded is kept, and the same command goes on from there", told
    assert "Traceback" not in told
    if not later:
        finish(run, words)
        assert records(run) == records(whole(words))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_attacks_are_stopped_between_two_batches_and_go_on(run: Path, whole, how: signal.Signals) -> None:
    expected = whole(ATTACK, "attack")
    status = stop(run, ATTACK, how, partial(attacked, run), command="attack", more=0)
    found = [record for record in records(run) if record["evaluation"].startswith("attacked")]
    if how is signal.SIGKILL:
        assert (status, len(found)) == (KILLED, 0)
    else:
        assert (status, len(found)) == (128 + how, 50)
        assert "the same command goes on" in log(run)
    finish(run, ATTACK, command="attack")
    assert records(run) == records(expected)
    again, once = (load_file(next(folder.glob("adversarial/*.safetensors"))) for folder in (run, expected))
    assert all((again[field] == once[field]).all() for field in ("x", "x_adv", "indices"))
    assert len(again["indices"]) == 60


def test_seconds_are_those_of_all_slices(run: Path) -> None:
    assert stop(run, ONE, signal.SIGKILL, seconds=0.1) == KILLED
    spent = [image["seconds"] for line in read_lines(run / "partial.jsonl") for image in line["images"]]
    assert spent == sorted(spent)
    finish(run, ONE)
    (record,) = [r for r in Run.open(run).records() if r["evaluation"].startswith("certified")]
    assert record["seconds"] > spent[-1] > 0


def test_a_full_disk_leaves_what_was_counted(run: Path, whole) -> None:
    other = [whole(ONE) / "records.jsonl", whole(ONE) / "forms.json", *whole(ONE).glob("evaluations/*.json")]
    with begun(run, ONE, file_size=max(path.stat().st_size for path in other)) as process:
        process.join(120)
        assert process.exitcode == 1
    assert "partial.jsonl cannot be written (File too large)" in " ".join(log(run).split())
    assert kept(run) > 0
    assert (run / "partial.jsonl").read_bytes().endswith(b"\n")
    finish(run, ONE)
    assert records(run) == records(whole(ONE))


@pytest.mark.parametrize("what", ["records.jsonl", "evaluations"])
def test_a_full_disk_is_no_wrong_record(run: Path, whole, what: str) -> None:
    room = {"records.jsonl": (whole(FIXED) / "records.jsonl").stat().st_size - 100, "evaluations": 300}[what]
    shutil.copy(whole(FIXED) / "forms.json", run)
    with begun(run, FIXED, slice_seconds=1000.0, file_size=room) as process:
        process.join(120)
        assert process.exitcode == 1
    assert "File too large" in log(run)
    assert bool((run / "records.jsonl").stat().st_size) == (what == "records.jsonl")
    finish(run, FIXED)
    assert records(run) == records(whole(FIXED))


@pytest.mark.parametrize("file", ["partial.jsonl", "records.jsonl"])
def test_a_torn_last_line_is_done_again(run: Path, whole, file: str) -> None:
    """When some images are certified, and others are not."""
    assert stop(run, FIXED, signal.SIGKILL, partial(counted, run, images=1)) == KILLED
    path = run / file
    path.write_bytes(path.read_bytes()[:-7])
    finish(run, FIXED)
    assert records(run) == records(whole(FIXED))


def test_a_line_that_is_no_count_is_named(run: Path) -> None:
    assert stop(run, ONE, signal.SIGKILL) == KILLED
    path = run / "partial.jsonl"
    path.write_text('{"evaluation":"x"}\n' + path.read_text())
    with begun(run, ONE) as process:
        process.join(120)
        assert process.exitcode == 2
    told = " ".join(log(run).split())
    assert "partial.jsonl, line 1: field 'images': Field required" in told
    assert "remove the line and run again" in told


def test_a_second_process_is_refused(run: Path) -> None:
    with begun(run, ENDLESS) as first:
        wait(lambda: size(run) > 0)
        with begun(run, FIXED) as second:
            second.join(120)
            assert (second.exitcode, "another process is writing" in log(run)) == (2, True)
        assert first.is_alive()


def test_only_the_evaluation_itself_reads_its_partial_counts(gambeson, run: Path, tmp_path: Path) -> None:
    finish(run, (*COMMON, "--draws", 200, "--limit", 3))
    assert stop(run, ONE, signal.SIGKILL) == KILLED
    (run / "partial.jsonl").write_text("nonsense\n")
    assert gambeson("report", run, "--out", tmp_path / "report").status == 0
    assert gambeson("export", run, "--format", "csv", "--out", tmp_path / "out.csv").status == 0
