"""Stopped inside an image, however and however often: the counts are kept, and the records are those of one run."""

import os
import random
import shutil
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest
from stopping import FORM, KILLED, certify, drawn, log, records, size, stop, wait

from gambeson.jsonl import read_lines
from gambeson.records import Run

COMMON = ("--noise", "gaussian:0.25", "--select-draws", 50, *FORM)
FIXED = (*COMMON, "--budget", "fixed", "--draws", 4_000, "--limit", 4)
GRID = (*COMMON, "--radii", "0,0.25,0.4", "--draws", 2_000, "--limit", 12)
ONE = (*COMMON, "--budget", "fixed", "--draws", 4_000, "--limit", 1)
LONG = (*COMMON, "--budget", "fixed", "--draws", 1_000_000, "--limit", 1)
BUDGETS = pytest.mark.parametrize("words", [FIXED, GRID], ids=["fixed", "grid"])


def finish(run: Path, words: tuple, **options) -> None:
    process = certify(run, words, **options)
    process.join(300)
    assert process.exitcode == 0, log(run)
    assert not (run / "partial.jsonl").exists()


def kept(run: Path) -> int:
    """How many draws are counted; they grow from line to line, so that none is done twice and none lost."""
    found = drawn(run)
    assert all(a < b for draws in found.values() for a, b in pairwise(draws)), found
    return sum(draws[-1] for draws in found.values())


def whole(run: Path, words: tuple, name: str = "whole") -> Path:
    path = Path(shutil.copytree(run, run.parent / name))
    finish(path, words, slice_seconds=1000.0)
    return path


def stopped_at_random_moments(run: Path, words: tuple, kills: int, pause: float, **options) -> None:
    expected, moments, inside = records(whole(run, words)), random.Random(0), 0
    for _ in range(kills):
        if (
            stop(run, words, moments.uniform(0, pause), signal.SIGKILL, **options) == 0
        ):  # done: once more from the start
            assert records(run) == expected
            for path in [run / "records.jsonl", *run.glob("evaluations/*")]:
                path.unlink()
            continue
        inside += kept(run) > 0
    finish(run, words, **options)
    assert records(run) == expected
    assert inside >= kills * 2 // 3


@BUDGETS
def test_killed_at_random_moments(run: Path, words: tuple) -> None:
    stopped_at_random_moments(run, words, 5 if words is FIXED else 3, 0.05)


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
@BUDGETS
def test_killed_at_a_hundred_random_moments(run: Path, words: tuple, workers: int) -> None:
    stopped_at_random_moments(run, words, 100, 0.3, workers=workers)


@pytest.mark.parametrize(
    ("signals", "status"),
    [
        ([signal.SIGTERM], {143}),
        ([signal.SIGINT], {130}),
        ([signal.SIGINT, signal.SIGINT], {130}),
        ([signal.SIGTERM, signal.SIGINT], {130, 143}),  # of two at once, the system chooses the first
    ],
    ids=str,
)
def test_signals_end_the_run_with_one_clear_line(run: Path, signals: list, status: set[int]) -> None:
    assert stop(run, FIXED, 0.02, *signals) in status
    assert "stopped; the same command goes on where this one ended" in log(run)
    assert "Traceback" not in log(run)
    assert kept(run) > 0
    finish(run, FIXED)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_run_of_several_workers(run: Path, how: signal.Signals) -> None:
    expected = records(whole(run, FIXED))
    assert stop(run, FIXED, 0.0, how, workers=2) == 128 + how
    assert "the same command goes on" in log(run)
    assert "Traceback" not in log(run)
    assert kept(run) > 0
    finish(run, FIXED)
    assert records(run) == expected


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_what_is_at_work_when_the_signal_comes_is_kept(run: Path, how: signal.Signals) -> None:
    """A slice would last for a quarter of an hour; nothing is on the disk before the signal."""
    process = certify(run, LONG, slice_seconds=1000.0)
    wait(lambda: bool(list(run.glob("evaluations/certified-*.json"))))
    time.sleep(0.3)
    assert size(run) == 0
    os.kill(process.pid, how)
    process.join(60)
    assert process.exitcode == 128 + how
    assert 0 < (before := kept(run)) < 1_000_000
    assert stop(run, LONG, 0.0, signal.SIGKILL) == KILLED
    assert kept(run) > before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_attacks_are_stopped_between_two_batches_and_go_on(run: Path, how: signal.Signals) -> None:
    words = ("--noise", "gaussian:0.25", "--steps", 2, "--attack-draws", 4, "--predict-draws", 100, *FORM)
    words = (*words, "--limit", 150)
    process = certify(run, words, command="attack")
    wait(lambda: bool(list(run.glob("adversarial/*.safetensors"))))
    os.kill(process.pid, how)
    process.join(60)
    assert process.exitcode == 128 + how
    assert "the same command goes on" in log(run)
    attacked = [r for r in records(run) if r["evaluation"].startswith("attacked")]
    assert len(attacked) in (50, 100)  # whole batches
    process = certify(run, words, command="attack")
    process.join(60)
    assert process.exitcode == 0, log(run)
    assert [r for r in records(run) if r in attacked] == attacked


def test_seconds_are_those_of_all_slices(run: Path) -> None:
    assert stop(run, ONE, 0.1, signal.SIGKILL) == KILLED
    spent = [image["seconds"] for line in read_lines(run / "partial.jsonl") for image in line["images"]]
    assert spent == sorted(spent)
    finish(run, ONE)
    (record,) = [r for r in Run.open(run).records() if r["evaluation"].startswith("certified")]
    assert record["seconds"] > spent[-1] > 0


def test_a_full_disk_leaves_what_was_counted(run: Path) -> None:
    expected = records(whole(run, ONE))
    other = [run.parent / "whole" / "records.jsonl", *run.parent.glob("whole/evaluations/*.json")]
    process = certify(run, ONE, file_size=max(path.stat().st_size for path in other))
    process.join(60)
    assert process.exitcode == 1
    assert "partial.jsonl cannot be written (File too large)" in " ".join(log(run).split())
    assert kept(run) > 0
    assert (run / "partial.jsonl").read_bytes().endswith(b"\n")
    finish(run, ONE)
    assert records(run) == expected


@pytest.mark.parametrize("what", ["records.jsonl", "evaluations"])
def test_a_full_disk_is_no_wrong_record(run: Path, what: str) -> None:
    expected = records(whole(run, FIXED))
    room = {"records.jsonl": (run.parent / "whole" / what).stat().st_size - 100, "evaluations": 300}[what]
    process = certify(run, FIXED, slice_seconds=1000.0, file_size=room)
    process.join(60)
    assert process.exitcode == 1
    assert "File too large" in log(run)
    assert bool((run / "records.jsonl").stat().st_size) == (what == "records.jsonl")
    finish(run, FIXED)
    assert records(run) == expected


@pytest.mark.parametrize("file", ["partial.jsonl", "records.jsonl"])
def test_a_torn_last_line_is_done_again(run: Path, file: str) -> None:
    expected = records(whole(run, FIXED))
    assert stop(run, FIXED, 0.0, signal.SIGKILL, images=1) == KILLED
    path = run / file
    path.write_bytes(path.read_bytes()[:-7])
    finish(run, FIXED)
    assert records(run) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "not JSON"),
        ('{"evaluation":"x"}', "field 'images': Field required"),
        (
            '{"evaluation":"x","images":[{"index":0,"stage":"a","first":0,"seconds":1,"draws":9,"counts":[10]}]}',
            "more than 9 draws",
        ),
    ],
)
def test_a_garbage_line_is_named(run: Path, line: str, message: str) -> None:
    assert stop(run, ONE, 0.01, signal.SIGKILL) == KILLED
    path = run / "partial.jsonl"
    path.write_text(line + "\n" + path.read_text())
    process = certify(run, ONE)
    process.join(60)
    assert process.exitcode == 2
    told = " ".join(log(run).split())
    assert "partial.jsonl, line 1: " in told
    assert message in told
    assert "remove the line and run again" in told


def test_a_second_process_is_refused(run: Path) -> None:
    first = certify(run, LONG)
    wait(lambda: size(run) > 0)
    second = certify(run, FIXED)
    second.join(60)
    assert first.is_alive()
    assert second.exitcode == 2
    first.kill()
    first.join(60)


def test_only_the_evaluation_itself_reads_its_partial_counts(gambeson, run: Path, tmp_path: Path) -> None:
    done = (*COMMON, "--draws", 200, "--limit", 3)
    finish(run, done)
    assert stop(run, ONE, 0.0, signal.SIGKILL) == KILLED
    (run / "partial.jsonl").write_text("nonsense\n")
    assert gambeson("report", run, "--out", tmp_path / "report").status == 0
    assert gambeson("export", run, "--format", "csv", "--out", tmp_path / "out.csv").status == 0
