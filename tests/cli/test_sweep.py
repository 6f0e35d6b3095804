"""gambeson sweep, on the embedded digits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_the_same_command_does_nothing_twice(swept: Path, gambeson) -> None:
    before = {path: path.read_bytes() for path in swept.rglob("*") if path.is_file() and path.suffix != ".log"}
    done = gambeson(*WORDS, "--jobs", 2, "--out", swept)
    assert done.status == 0, done.err
    after = {path: path.read_bytes() for path in swept.rglob("*") if path.is_file() and path.suffix != ".log"}
    assert {path.name for path in before if before[path] != after[path]} <= {"checkpoint.pt"}


def test_a_run_that_fails_is_named_with_its_last_words(tmp_path: Path, gambeson) -> None:
    (tmp_path / "found" / "runs" / "weight-0.5_seed-0").mkdir(parents=True)
    (tmp_path / "found" / "runs" / "weight-0.5_seed-0" / "header.json").write_text("{}")
    done = gambeson(*WORDS, "--out", tmp_path / "found")
    assert done.status == 1
    assert "weight-0.5_seed-0" in done.err
    assert "give the same command again" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--eps", "0.1", "--grid", "method.wieght=1,2"), "has no key wieght"),
        (("--eps", "0.1,0.2"), "a sweep is judged at one radius"),
        (("--eps", "0.1", "--seeds", 0), "all must be at least 1"),
        (("--eps", "0.1", "--set", "data.validation=0"), "held out"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(tmp_path: Path, gambeson, words: tuple, message: str) -> None:
    done = gambeson("sweep", "digits-stability", *words, "--out", tmp_path / "found")
    assert done.status == 2
    assert message in done.err
    assert not (tmp_path / "found").exists()
