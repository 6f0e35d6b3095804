"""gambeson sweep, on the embedded digits."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import wait

WORDS = ("sweep", "digits-stability", "--grid", "method.weight=0.5,2.0", "--eps", "0.1", "--images", 20)
WORDS = (*WORDS, "--set", "train.epochs=1", "--set", "train.ratio_steps=0")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sweep") / "found"
    words = [sys.executable, "-m", "gambeson", *map(str, WORDS), "--jobs", "2", "--out", str(out)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "chosen: method.weight=" in done.stdout
    return out


def test_every_run_is_in_the_tables_and_the_figure(swept: Path) -> None:
    found = json.loads((swept / "sweep.json").read_text())
    assert [run["point"]["settings"] for run in found["runs"]] == [["method.weight=0.5"], ["method.weight=2.0"]]
    best = max(found["runs"], key=lambda run: (run["robust_validation"], run["natural_validation"]))
    assert best["point"]["settings"] == found["chosen"]
    for run in found["runs"]:
        assert run["natural_test"][1] == run["robust_test"][1] > 0
        assert run["robust_test"][0] <= run["natural_test"][0]
    for name in ("sweep.csv", "sweep.md", "sweep.tex", "sweep-runs.csv"):
        assert "method.weight" in (swept / "tables" / name).read_text().replace("\\_", "_")
    assert (swept / "figures" / "sweep.png").stat().st_size > 1_000


def test_the_same_command_comes_to_the_same_whatever_else_was_recorded(swept: Path, gambeson, tmp_path: Path) -> None:
    folder = tmp_path / "found"
    shutil.copytree(swept, folder)
    before = json.loads((folder / "sweep.json").read_text())["runs"]
    few = ("--preset", "paper", "--eps", "0,0.1", "--limit", 3)
    assert gambeson("attack", folder / "runs" / "weight-2.0_seed-0", *few).status == 0
    assert gambeson(*WORDS, "--jobs", 2, "--out", folder).status == 0
    assert json.loads((folder / "sweep.json").read_text())["runs"] == before


def test_ctrl_c_is_one_signal_to_each_run_and_the_same_command_goes_on(tmp_path: Path, process) -> None:
    words = ("sweep", "digits-plain", "--eps", "0.1", "--images", 10, "--set", "train.ratio_steps=0")
    words = (*words, "--set", "train.epochs=20", "--out", tmp_path / "found")
    run = tmp_path / "found" / "runs" / "recipe_seed-0"
    begun = process(*words)
    wait(lambda: (run / "metrics.jsonl").exists())
    begun.send_signal(signal.SIGINT)
    assert begun.wait(60) == 130
    log = (tmp_path / "found" / "runs" / "recipe_seed-0.log").read_text()
    assert "stopped; what is recorded is kept" in log
    assert "Traceback" not in log
    assert (run / "checkpoint.pt").exists()
    assert not (run / "header.json").exists()
    again = process(*words)
    assert again.wait(200) == 0
    assert (tmp_path / "found" / "sweep.json").exists()


def test_a_run_that_fails_is_named_with_its_last_words(tmp_path: Path, gambeson) -> None:
    (tmp_path / "found" / "runs" / "weight-0.5_seed-0").mkdir(parents=True)
    (tmp_path / "found" / "runs" / "weight-0.5_seed-0" / "header.json").write_text("{}")
    done = gambeson(*WORDS, "--out", tmp_path / "found")
    assert done.status == 1
    assert "1 of 2 runs failed, the others are done" in done.err
    assert (tmp_path / "found" / "runs" / "weight-2.0_seed-0" / "records.jsonl").exists()
    assert "weight-0.5_seed-0" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--eps", "0.1", "--grid", "method.wieght=1,2"), "has no key wieght"),
        (("--eps", "0.1,0.2"), "a sweep is judged at one radius"),
        (("--eps", "0.1", "--seeds", 0), "all must be at least 1"),
        (("--eps", "0.1", "--norm", "Linf"), "norm is 'Linf'"),
        (("--eps", "0.1", "--preset", "papr"), "--preset is 'papr'"),
        (("--eps", "0.1", "--noise", "gausian:0.5"), "gausian"),
        (("--eps", "0.1", "--devices", "gpu"), "gpu"),
        (("--eps", "0.1", "--set", "data.validation=0"), "held out"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(tmp_path: Path, gambeson, words: tuple, message: str) -> None:
    done = gambeson("sweep", "digits-stability", *words, "--out", tmp_path / "found")
    assert done.status == 2
    assert message in done.err
    assert not (tmp_path / "found").exists()
