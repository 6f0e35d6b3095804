"""Stopped at any moment, by Ctrl-C or by kill -9: the same command goes on, and the records are the same."""

import signal
import time

from stopping import FORM

from gambeson.jsonl import read_lines
from gambeson.records import Run

WORDS = (
    "--noise", "gaussian:0.25", "--budget", "fixed", "--draws", 2000, "--select-draws", 20, "--limit", 100,
    *FORM,
)  # fmt: skip  # several times as many images as share calls, hence several slices


def without_seconds(run) -> list[dict]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in Run.open(run).records()]


def certified(run) -> int:
    return sum(record["evaluation"].startswith("certified") for record in read_lines(run / "records.jsonl"))


def wait_for(run, count: int) -> None:
    deadline = time.monotonic() + 60
    while certified(run) < count and time.monotonic() < deadline:
        time.sleep(0.005)


def copy(run):
    import shutil

    return shutil.copytree(run, run.parent / "stopped")


def test_ctrl_c_leaves_a_run_that_resumes(gambeson, process, run) -> None:
    stopped = copy(run)
    assert gambeson("certify", run, *WORDS).status == 0
    running = process("certify", stopped, *WORDS)
    wait_for(stopped, 5)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in err
    assert "the same command goes on" in err
    assert 5 <= certified(stopped) < 100
    assert gambeson("certify", stopped, *WORDS).status == 0
    assert without_seconds(stopped) == without_seconds(run)


def test_killed_attacks_keep_their_images(gambeson, process, run) -> None:
    from safetensors.torch import load_file

    words = ("--eps", "0.1", "--norm", "l2", "--noise", "gaussian:0.25", "--steps", 3, "--predict-draws", 100)
    words = (*words, "--limit", 120, *FORM)
    stopped = copy(run)
    assert gambeson("attack", run, *words).status == 0
    running = process("attack", stopped, *words)
    deadline = time.monotonic() + 60
    while not list(stopped.glob("adversarial/*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.1)
    running.kill()
    running.communicate()
    assert gambeson("attack", stopped, *words).status == 0
    assert without_seconds(stopped) == without_seconds(run)
    (name,) = (path.name for path in run.glob("adversarial/*.safetensors"))
    whole, resumed = (load_file(folder / "adversarial" / name) for folder in (run, stopped))
    assert all((whole[field] == resumed[field]).all() for field in ("x", "x_adv", "indices"))
    assert len(whole["indices"]) == 120


def by_image(run) -> list[dict]:
    return sorted(without_seconds(run), key=lambda record: (record["evaluation"], record["index"]))


def test_several_workers_give_the_same_records_and_resume_after_a_kill(gambeson, process, run) -> None:
    stopped = copy(run)
    assert gambeson("certify", run, *WORDS).status == 0
    running = process("certify", stopped, *WORDS, "--workers", 2)
    wait_for(stopped, 5)
    running.kill()
    running.communicate()
    assert 5 <= certified(stopped) < 100
    done = gambeson("certify", stopped, *WORDS, "--workers", 2)
    assert done.status == 0, done.err
    assert by_image(stopped) == by_image(run)
