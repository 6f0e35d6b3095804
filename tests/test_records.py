"""Run folders: killed at any moment and resumed, torn, broken, locked, full, incomplete; never a wrong record."""

import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gambeson.errors import RunError, UserError
from gambeson.jsonl import read_json, read_lines, write_json
from gambeson.records import Run

HEADER: dict[str, Any] = {
    "name": "run", "method": None, "method_settings": None, "dataset": "toy", "model": None, "classes": ["a", "b"],
    "shape": [1, 2, 2], "levels": 255, "seed": None, "model_hash": "m", "data_hash": None, "versions": {},
    "device": "cpu", "threads": 1,
}  # fmt: skip
DATA = {"dataset": "toy", "split": "test", "rule": "all test images", "levels": 255, "fingerprint": "f"}
ATTACK: dict[str, Any] = {
    "attack": "pgd", "target": "base", "norm": "linf", "eps": 0.1, "steps": 20, "step_size": 0.01, "step_rule": "sign",
    "loss": "cross_entropy", "restarts": 1, "random_start": True, "early_stop": True,
    "step_rule_settings": {}, "targets_hash": None, "batch": 50, "projection": "exact",
    "box": (0.0, 1.0), "targeted": None, "noise": None, "attack_draws": None, "redraw": None, "predict_draws": None,
    "predict_alpha": None, "seed": 0, "form": None,
}  # fmt: skip
FORM = {"dtype": "float32", "memory": "contiguous", "batch": 100, "threads": 1, "device": "cpu"}
CERTIFIED: dict[str, Any] = {
    "noise": "gaussian:0.5", "select_draws": 10, "draws": 100, "alpha": 0.001, "budget": "fixed", "seed": 0,
    "block": 100, "form": FORM, "tau": 1e-9, "max_radius": {"gaussian_l2": 1.0}, "rounding_distance": {"l2": 0.1},
}  # fmt: skip


def clean_record(index: int) -> dict[str, Any]:
    fields = {"hash": f"{index:016x}", "label": index % 2, "predict": 0, "correct": index % 2 == 0}
    return {"index": index, **fields, "confidence": 0.5, "seconds": 0.25}


def certified_record(**changed: Any) -> dict[str, Any]:
    radii = {"gaussian_l2": 0.5}
    fields = {"index": 0, "hash": "h", "label": 1, "seconds": 0.1, "predict": 1, "correct": True, "reason": None}
    fields |= {"selected": 1, "select_counts": [0, 10], "counts": [1, 99], "nonfinite": 0, "p_lower": 0.9}
    fields |= {"p_lower_two_sided": 0.9, "p_upper_two_sided": 0.1, "radii": radii, "radii_real": radii}
    return {**fields, **changed}


def begin(writer: Any, kind: str = "clean", settings: dict[str, Any] | None = None, examples: int = 10) -> Any:
    return writer.evaluation(kind, settings or {"batch": 10}, DATA, examples, "gambeson attack", "2026-01-01T00:00:00")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", HEADER)


def test_an_evaluation_whose_settings_were_changed_is_not_gone_on_with(run: Run) -> None:
    with run.writing() as writer:
        name = begin(writer).id
    path = run.path / "evaluations" / f"{name}.json"
    path.write_text(path.read_text().replace('"batch": 10', '"batch": 11'))
    with run.writing() as writer, pytest.raises(UserError, match="was changed: its name is the hash"):
        begin(writer)


def test_what_a_run_says_of_its_training_stays(tmp_path: Path) -> None:
    trained = Run.create(tmp_path, {**HEADER, "method": "noisy", "seed": 3})
    assert Run.create(tmp_path, HEADER).header["method"] == "noisy"
    assert Run.create(tmp_path, {**HEADER, "model_hash": "other"}).header["method"] is None
    assert trained.header["model_hash"] == "other"


def test_what_is_written_is_read(run: Run) -> None:
    with run.writing() as writer:
        evaluation = begin(writer)
        for index in (4, 0, 7):
            evaluation.append(clean_record(index))
    again = Run.open(run.path)
    assert again.records() == again.records(evaluation.id)
    assert again.records() == [{"evaluation": evaluation.id, **clean_record(i)} for i in (4, 0, 7)]
    (found,) = again.evaluations("clean")
    assert (found["id"], found["settings"], found["data"], found["examples"]) == (
        evaluation.id,
        {"batch": 10},
        DATA,
        10,
    )
    assert again.evaluations("certified") == again.records("other") == again.metrics() == again.checks() == []
    assert again.cost() is None


WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_records import HEADER, begin, clean_record
from gambeson.records import Run
run = Run.create(Path(sys.argv[1]), HEADER)
print("ready", flush=True)
left = int(sys.argv[4])
with run.writing() as writer:
    evaluation = begin(writer, examples=300)
    for index in range(300):
        if index not in evaluation.done:
            evaluation.append({**clean_record(index), "seconds": time.perf_counter()})
            left -= 1
            time.sleep(float(sys.argv[3]) if left else 600)
"""


def write(folder: Path, pause: float = 0.002, most: int = 1_000) -> subprocess.Popen:
    """Writes `most` records, and waits if that is not all of them."""
    words = [str(folder), str(Path(__file__).parent), str(pause), str(most)]
    return subprocess.Popen([sys.executable, "-c", WRITER, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def without_seconds(run: Run) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in run.records()]


def kill_and_resume(tmp_path: Path, kills: int, pause: float) -> None:
    assert write(tmp_path / "whole", 0).wait() == 0
    moments = random.Random(0)
    for _ in range(kills):
        process = write(tmp_path / "killed", pause, 299 // kills)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moments.uniform(0, 0.2))
        process.kill()
        process.wait()
    killed = len(Run(tmp_path / "killed").records())
    assert write(tmp_path / "killed", 0).wait() == 0
    assert 0 < killed < 300
    assert without_seconds(Run(tmp_path / "killed")) == without_seconds(Run(tmp_path / "whole"))
    assert sorted(p.name for p in (tmp_path / "killed").rglob("*")) == sorted(
        p.name for p in (tmp_path / "whole").rglob("*")
    )


def test_killed_at_any_moment_and_resumed(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, 10, 0.01)


@pytest.mark.long
def test_killed_at_any_moment_and_resumed_often(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, 60, 0.05)


@pytest.mark.parametrize("cut", [1, 2, 30, 100])
def test_a_torn_last_line_is_dropped(run: Run, cut: int) -> None:
    with run.writing() as writer:
        evaluation = begin(writer)
        for index in range(3):
            evaluation.append(clean_record(index))
    path = run.path / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert [r["index"] for r in run.records()] == [0, 1]
    with run.writing() as writer:
        evaluation = begin(writer)
        assert evaluation.done == {0, 1}
        evaluation.append(clean_record(2))
    assert [r["index"] for r in run.records()] == [0, 1, 2]


def test_a_torn_line_that_is_all_there_is(run: Run) -> None:
    (run.path / "records.jsonl").write_bytes(b"x" * 200_000)
    with run.writing() as writer:
        begin(writer).append(clean_record(0))
    assert [r["index"] for r in run.records()] == [0]


@pytest.mark.parametrize("broken", [b"{\n", b"nonsense\n", b"\n", b"3\n", b"\xff\xfe\n", b'{"index": NaN\n'])
def test_a_broken_line_in_the_middle_names_file_and_line(run: Run, broken: bytes) -> None:
    with run.writing() as writer:
        begin(writer).append(clean_record(0))
    path = run.path / "records.jsonl"
    path.write_bytes(path.read_bytes() + broken + path.read_bytes())
    with pytest.raises(UserError, match=rf"{path}, line 2: .*remove the line"):
        run.records()
    with pytest.raises(UserError, match="line 2"), run.writing() as writer:
        begin(writer)


def test_a_second_writer_is_refused(run: Run) -> None:
    with run.writing() as writer:
        begin(writer)
        with pytest.raises(UserError, match="another process is writing"), run.writing():
            pass
        process = write(run.path)
        assert "another process is writing" in process.communicate()[1].decode()
        assert process.returncode == 1
    with run.writing():
        pass  # and released


def test_the_same_settings_resume_and_others_begin_anew(run: Run) -> None:
    ids = []
    with run.writing() as writer:
        ids.append(begin(writer, "attacked", ATTACK).id)
        ids.append(begin(writer, "attacked", dict(reversed(ATTACK.items()))).id)  # order means nothing
        for field, value in {"eps": 0.11, "steps": 21, "seed": 1, "step_rule": "adam", "noise": "gaussian:0.5"}.items():
            ids.append(begin(writer, "attacked", {**ATTACK, field: value}).id)
        other = {**DATA, "fingerprint": "g"}
        ids.append(writer.evaluation("attacked", ATTACK, other, 10, "x", "2026").id)
    assert ids[0] == ids[1]
    assert len(set(ids)) == len(ids) - 1
    assert {evaluation["id"] for evaluation in run.evaluations()} == set(ids)


@pytest.mark.parametrize("field", sorted(ATTACK))
def test_an_attack_cannot_be_written_without_every_setting(run: Run, field: str) -> None:
    settings = {name: value for name, value in ATTACK.items() if name != field}
    with run.writing() as writer, pytest.raises(UserError, match=rf"field '{field}': Field required|{field} missing"):
        begin(writer, "attacked", settings)
    assert run.evaluations() == []


@pytest.mark.parametrize("field", sorted(CERTIFIED))
def test_a_certificate_cannot_be_written_without_every_setting(run: Run, field: str) -> None:
    settings = {name: value for name, value in CERTIFIED.items() if name != field}
    with run.writing() as writer, pytest.raises(UserError, match=field):
        begin(writer, "certified", settings)


@pytest.mark.parametrize(
    "changed",
    [
        {"radii": {"gaussian_l2": float("nan")}},
        {"radii_real": {"gaussian_l2": float("inf")}},
        {"p_lower": float("nan")},
        {"p_lower": 1.1},
        {"p_upper_two_sided": -0.1},
        {"seconds": float("nan")},
        {"radius": 3.0},
        {"counts": None},
    ],
    ids=str,
)
def test_records_that_cannot_be_written(run: Run, changed: dict[str, Any]) -> None:
    with run.writing() as writer:
        evaluation = begin(writer, "certified", CERTIFIED)
        with pytest.raises(UserError, match=next(iter(changed))):
            evaluation.append(certified_record(**changed))
        evaluation.append(certified_record())
    assert len(run.records()) == 1


def test_an_image_is_recorded_once(run: Run) -> None:
    with run.writing() as writer:
        evaluation = begin(writer)
        evaluation.append(clean_record(3))
        with pytest.raises(UserError, match="image 3 is recorded already"):
            evaluation.append(clean_record(3))


@pytest.mark.parametrize(("field", "value"), [("model_hash", "n"), ("shape", [1, 3, 3]), ("classes", ["a", "b", "c"])])
def test_another_models_records_are_refused(run: Run, field: str, value: Any) -> None:
    Run.create(run.path, {**HEADER, field: value})  # no records yet: the header may change
    Run.create(run.path, HEADER)
    with run.writing() as writer:
        begin(writer).append(clean_record(0))
    for lost in (None, "records.jsonl"):  # what was begun and counted would be gone on with
        if lost:
            (run.path / lost).unlink()
        with pytest.raises(UserError, match=f"is about another model .*{field}"):
            Run.create(run.path, {**HEADER, field: value})
    assert run.header[field] == HEADER[field]


@pytest.mark.parametrize("kept", ["model.safetensors", "recipe.toml"])
def test_a_trained_model_keeps_its_header(run: Run, kept: str) -> None:
    (run.path / kept).write_text("")
    with pytest.raises(UserError, match=r"is about another model .*model_hash.*choose another --out"):
        Run.create(run.path, {**HEADER, "model_hash": "other"})
    assert run.header["model_hash"] == HEADER["model_hash"]


@pytest.mark.parametrize(("field", "value"), [("model_hash", "n"), ("dataset", "other")])
def test_a_run_that_became_another_models_before_anything_was_written_is_refused(run, field: str, value: str) -> None:
    """Two commands begin in one folder at the same time: the one whose header was replaced writes nothing."""
    other = Run.create(run.path, {**HEADER, field: value})
    with pytest.raises(UserError, match="has become a run of another model or data set"), run.writing():
        pass
    for later in (other, Run.open(run.path)):
        with later.writing() as writer:
            begin(writer)


def test_an_unfinished_evaluation_goes_on_where_no_recorded_part_of_the_machine_differs(run: Run) -> None:
    """Older evaluations say less of their machine than is known now."""
    old = {"torch": "2", "numpy": "2"}
    now = {**old, "scipy": "1.11", "processor": "abacus"}

    def on(machine: dict[str, Any]) -> None:
        with run.writing() as writer:
            writer.evaluation("clean", {"batch": 10}, DATA, 10, "x", "2026", machine)

    for machine in (old, now):
        on(machine)
    (run.path / "records.jsonl").unlink()
    for path in run.path.glob("evaluations/*"):
        path.unlink()
    on(now)
    with pytest.raises(UserError, match=r"was begun with scipy 1\.11 \(now 1\.12\), .* or of the noise may differ"):
        on({**now, "scipy": "1.12"})


def test_headers_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        Run.open(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"header\.json does not exist"):
        Run.open(tmp_path / "empty")
    path = run.path / "header.json"
    for text, message in (
        ("{", "not readable JSON"),
        ("\udcff", "not readable"),
        ("[]", "an object is expected"),
        ('{"schema": 2}', "2"),
    ):
        path.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(UserError, match=message):
            Run.open(run.path)


def test_json_files_are_whole_or_as_before(run: Run) -> None:
    path = run.path / "cost.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == run.cost() == {"a": 1}


def test_a_full_disk_leaves_no_part_of_a_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run.path / "cost.json"
    write_json(path, {"a": 1})

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gambeson.jsonl.os.fsync", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        write_json(path, {"a": 2})
    assert raised.value.filename == str(path)
    assert read_json(path) == {"a": 1}
    assert not list(run.path.glob("*.tmp"))


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_records import HEADER, begin, clean_record
from gambeson.errors import RunError
from gambeson.records import Run
run = Run.create(Path(sys.argv[1]), HEADER)
with run.writing() as writer:
    evaluation = begin(writer)
    limit = 20 * 150 + 70
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        for index in range(100):
            evaluation.append(clean_record(index))
    except RunError as error:
        print(index, error)
"""


def test_a_full_disk_leaves_whole_records_and_one_clear_error(tmp_path: Path) -> None:
    """A limit on the file's size tears a line in the middle, as a full disk does."""
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", FULL, str(tmp_path / "run"), here]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    index, message = done.stdout.strip().split(" ", 1)
    assert 5 < int(index) < 100
    assert "records.jsonl cannot be written (File too large)" in message
    assert done.stderr == ""
    run = Run.open(tmp_path / "run")
    assert [r["index"] for r in run.records()] == list(range(int(index)))
    assert (run.path / "records.jsonl").read_bytes().endswith(b"\n")
    assert write(run.path, 0).wait() == 0  # where there is room, it goes on
    assert len(run.records()) == 300


def test_what_a_full_disk_did_not_take_is_not_written_later(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with run.writing() as writer:
        evaluation = begin(writer)
        evaluation.append(clean_record(0))

        class Full:
            """A file that takes ten bytes more."""

            def __init__(self, file: Any) -> None:
                self.file, self.room = file, 10

            def write(self, data: bytes) -> int:
                if not self.room:
                    raise OSError(28, "No space left on device")
                taken, self.room = self.file.write(data[: self.room]), 0
                return int(taken)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.file, name)

        full = replace(evaluation, file=Full(evaluation.file))
        with pytest.raises(RunError, match="No space left on device"):
            full.append(clean_record(1))
        evaluation.append(clean_record(2))
    assert [r["index"] for r in run.records()] == [0, 2]


def test_checks_are_replaced_whole(run: Run) -> None:
    fields = {"verdict": "pass", "value": None, "threshold": None, "meaning": "m", "next_step": "n"}
    a, b, c = ({"check": name, **fields} for name in "abc")
    run.save_checks([a, b])
    run.save_checks([c])
    assert run.checks() == [c]
    assert list(read_lines(run.path / "nothing.jsonl")) == []
    assert json.loads((run.path / "checks.jsonl").read_text()) == c


def test_what_is_no_header_no_evaluation_and_no_check_is_named(run: Run) -> None:
    (run.path / "checks.jsonl").write_text('{"check":"a"}\n')
    with pytest.raises(UserError, match=r"checks\.jsonl, line 1: field 'verdict': Field required"):
        run.checks()
    (run.path / "evaluations").mkdir(exist_ok=True)
    (run.path / "evaluations" / "clean-1.json").write_text("{}")
    with pytest.raises(UserError, match=r"clean-1\.json: field 'id': Field required"):
        run.evaluations()
    header = json.loads((run.path / "header.json").read_text())
    del header["dataset"]
    (run.path / "header.json").write_text(json.dumps(header))
    with pytest.raises(UserError, match=r"header\.json: field 'dataset': Field required"):
        Run.open(run.path)


def test_interrupted_writing_releases_the_run(run: Run) -> None:
    with pytest.raises(KeyboardInterrupt), run.writing() as writer:  # noqa: PT012
        begin(writer).append(clean_record(0))
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    with run.writing() as writer:
        assert begin(writer).done == {0}


def test_a_file_system_without_locks_is_named_as_such(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunError, match=r"does not lock files \(No locks available\)"), run.writing():
        pass
