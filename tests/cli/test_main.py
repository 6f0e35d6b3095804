"""Help without torch, exit statuses, one clear line for every mistake."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import gambeson as package
from gambeson import cli

COMMANDS = ["quickstart", "train", "attack", "certify", "check", "verify", "predict", "report", "export", "list"]
COMMANDS += ["data fetch", "sweep", "ensemble"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(gambeson, command) -> None:
    done = gambeson(*command.split(), "--help")
    assert done.status == 0
    assert f"Example: gambeson {command} " in " ".join(done.out.split())


def test_help_does_not_import_torch() -> None:
    words = [["--help"], ["--version"], *([*command.split(), "--help"] for command in COMMANDS)]
    program = f"""
import sys
import gambeson
from gambeson import cli
for words in {words!r}:
    sys.argv = ["gambeson", *words]
    try:
        cli.main()
    except SystemExit as exit_:
        assert not exit_.code, words
heavy = {{"torch", "numpy", "scipy", "matplotlib", "pyarrow"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert package.__version__ in done.stdout


MISTAKES = [
    ("certify nowhere", "nowhere is no run folder"),
    ("attack nowhere --eps 0.1", "nowhere is no run folder"),
    ("check nowhere", "nowhere is no run folder"),
    ("certify EMPTY", "header.json does not exist"),
    ("train digits-nosy", "digits-noisy"),
    ("train nowhere.toml", "nowhere.toml does not exist"),
    ("train digits-plain --set train.epoch=3 --out OUT", "epochs"),
    ("train digits-plain --set epochs --out OUT", "key=value"),
    ("train digits-plain --set data.name=minst --out OUT", "mnist"),
    ("list method", "methods"),
    ("attack RUN --eps 0.1,x", "give finite numbers separated by commas"),
    ("attack RUN --eps 8/0", "give finite numbers separated by commas"),
    ("attack RUN --eps 1e999", "eps"),
    ("attack RUN --eps nan", "give finite numbers separated by commas"),
    ("attack RUN --eps=-0.1", "eps is -0.1"),
    ("attack RUN --eps 8", "write 8/255, not 8"),
    ("attack RUN --norm l2 --eps 64", "in l2, 8 reaches every image there is"),
    ("attack RUN --eps=", "--eps is ''; give finite numbers"),
    ("attack RUN --attack-draws 4 --predict-alpha 0.1", "nothing is drawn: leave --attack-draws, --predict-alpha out"),
    ("attack RUN --norm l3", "linf, l2, l1"),
    ("attack RUN --attack pdg", "did you mean pgd? Known: apgd, fab, fgsm, multi_targeted, pgd, random_noise"),
    ("attack RUN --steps 0", "steps is 0"),
    ("attack RUN --loss hinge", "loss"),
    ("attack RUN --noise gaussian", "kind:scale"),
    ("attack RUN --dtype bfloat16 --batch 5", "in no inference form: leave --dtype out"),
    ("attack RUN --memory contiguous --no-compile", "leave --memory, --compile out"),
    ("attack RUN --noise gaussian:0.2 --predict-draws 5", "predict_draws >= 11"),
    ("attack RUN --targeted given", "random or least_likely"),
    ("certify RUN --noise gauss:0.5", "gaussian:0.5"),
    ("certify RUN --noise gaussian:0.5,", "noise"),
    ("certify RUN --noise gaussian:64", "in [0, 1] pixel units"),
    ("certify RUN --draws 5", "give draws >= 10"),
    ("certify RUN --alpha 0", "alpha is 0"),
    ("certify RUN --select-draws 0", "select_draws is 0"),
    ("certify RUN --every 0", "--every is 0; it must be at least 1"),
    ("certify RUN --limit 0", "--limit is 0; it must be at least 1"),
    ("certify RUN --split tset", "split"),
    ("certify RUN --batch 0", "form batch is 0"),
    ("certify RUN --threads 0", "--threads is 0"),
    ("certify RUN --workers 0", "--workers is 0"),
    ("certify RUN --workers 100000", "on this machine"),
    ("certify RUN --threads 100000", "on this machine"),
    ("certify RUN --engine spark", "must be local or ray"),
    ("certify RUN --ray-address auto", "goes with --engine ray"),
    ("certify RUN --factory MINE:bare", "holds its own model"),
    ("certify MINE:bare --factory MINE:bare --data digits --out OUT", "leave one of them out"),
    ("certify MINE:local --data digits --out OUT --noise gaussian:0.5 --workers 2", "cannot be sent"),
    ("certify RUN --dtype float16", "bfloat16"),
    ("certify RUN --device tpu", "device is 'tpu'"),
    ("certify RUN --data mnist", "is about digits, not mnist"),
    ("certify RUN --mean 0.5 --std 0.5", "holds its own model, weights and normalisation"),
    ("check RUN --fail-on pass", "--fail-on"),
    ("check RUN --attack-draws 4", "give --noise"),
    ("check RUN --no-measure --attack-draws 4", "leave --attack-draws out"),
    ("certify MINE:bare", "--data NAME and --out RUN"),
    ("certify MINE:bare --data digits", "--data NAME and --out RUN"),
    ("certify MINE:bare --data digit --out OUT", "did you mean digits"),
    ("certify MINE:nothing --data digits --out OUT", "has no 'nothing'"),
    ("certify MINE:broken --data digits --out OUT", "no such luck"),
    ("certify nowhere.at.all:x --data digits --out OUT", "no module named 'nowhere'"),
    ("certify MINE:narrow --data digits --out OUT --noise gaussian:0.5", "7 logits but the data has 10 classes"),
    ("certify MINE:with_dropout --data digits --out OUT --noise gaussian:0.5", "answers differently when asked twice"),
    ("certify MINE:bare --data digits --out OUT", "--noise gaussian:0.5"),
    ("certify MINE:bare --data digits --out OUT --weights nowhere.pt", "nowhere.pt does not exist"),
    ("certify MINE:bare --data digits --out OUT --weights TEXT", "weights"),
    ("certify MINE:narrow --data digits --out OUT --weights weights.pt", "weight"),
    ("certify MINE:bare --data digits --out OUT --mean x", "give finite numbers"),
    ("certify MINE:bare --data digits --out OUT --std 0", "std"),
    ("certify TEXT --data digits --out OUT", "TEXT"),
    ("data fetch minst", "mnist"),
]


if find_spec("ray"):
    MISTAKES += [
        ("certify RUN --engine ray --ray-address 127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1"),
        ("certify RUN --engine ray --ray-address typo", "no Ray cluster answers at typo"),
    ]


@pytest.mark.parametrize(("line", "message"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_mistakes_end_in_one_clear_line(gambeson, run, own, tmp_path, line, message) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "TEXT").write_text("not weights\n")
    places = {"RUN": run, "OUT": tmp_path / "out", "EMPTY": tmp_path / "empty", "TEXT": tmp_path / "TEXT"}
    words = [str(places.get(word, word)).replace("MINE", own.name) for word in line.split()]
    done = gambeson(*words)
    assert done.status == 2, done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert message in done.err
    assert "Traceback" not in done.err
    assert not list(run.glob("evaluations/*"))  # and nothing was begun
    assert not list((tmp_path / "out").glob("evaluations/*"))


@pytest.mark.parametrize("line", ["attack", "certify RUN --drws 5", "attack RUN --steps many", "nothing", "data"])
def test_commands_that_cannot_be_parsed(gambeson, line) -> None:
    done = gambeson(*line.split())
    assert done.status == 2
    assert "Traceback" not in done.err


def test_a_file_where_a_folder_is_asked_for_is_a_mistake(gambeson, run, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    assert gambeson("attack", run, "--steps", 1, "--limit", 5).status == 0
    for command in (("report", run), ("train", "digits-plain"), ("export", run, "--format", "json")):
        done = gambeson(*command, "--out", tmp_path / "file")
        assert done.status == 2, done.err
        assert "name a folder that is one" in done.err
        assert "Traceback" not in done.err


def test_a_failed_run_is_status_1(gambeson, run, monkeypatch) -> None:
    """A disk that is full is no mistake of the command."""
    from gambeson import jsonl, records

    class Full:
        def __init__(self, file) -> None:
            self.name, self.seek, self.truncate = file.name, file.seek, file.truncate

        def write(self, line: bytes) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(records, "append", lambda file, line: jsonl.append(Full(file), line))
    done = gambeson("attack", run, "--limit", 5)
    assert done.status == 1
    assert done.err.startswith("error: ")
    assert "records.jsonl cannot be written (No space left on device)" in done.err
    assert "make room, run again" in done.err


@pytest.mark.parametrize("command", ["certify", "verify"])
def test_a_ctrl_c_on_top_of_another_is_no_traceback(monkeypatch, capsys, command: str) -> None:
    """Commands that would begin anew do not promise to go on."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    monkeypatch.setattr("sys.argv", ["gambeson", command])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 130
    told = capsys.readouterr().err
    assert "stopped; what is recorded is kept" in told
    assert ("the same command goes on" in told) == (command == "certify")


def test_memory_that_runs_out_keeps_what_is_recorded(gambeson, run, monkeypatch) -> None:
    import torch

    from gambeson.engines import here
    from gambeson.records import Run

    words = ("certify", run, "--noise", "gaussian:0.25", "--draws", 200, "--limit", 4)

    def short(judge, take):
        yield next(iter(here(judge, take)))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr("gambeson.cli.certify.engine_for", lambda *wished: short)
        patch.setattr("gambeson.evaluation.procedures.company", lambda batch: 1)
        done = gambeson(*words)
    assert done.status == 1
    assert "error: CUDA out of memory; what is recorded is kept: free memory" in done.err
    assert "with a smaller --batch" in done.err
    (evaluation,) = Run.open(run).evaluations("certified")
    before = Run.open(run).records(evaluation["id"])
    assert len(before) == 1
    assert gambeson(*words).status == 0
    assert Run.open(run).records(evaluation["id"])[:1] == before


def test_lists(gambeson) -> None:
    expected = {"attacks": "pgd", "certificates": "gaussian_l2", "datasets": "digits", "models": "lenet"}
    for what, one in {**expected, "methods": "stability", "recipes": "digits-plain"}.items():
        done = gambeson("list", what)
        assert done.status == 0
        assert one in done.out.split()


def test_errors_keep_square_brackets(gambeson, tmp_path) -> None:
    """They are text, not markup."""
    done = gambeson("certify", tmp_path / "[red]x")
    assert "[red]x is no run folder" in done.err


def test_headers_hold_no_path_of_the_machine(gambeson, run) -> None:
    assert gambeson("attack", run, "--limit", 3, "--steps", 2).status == 0
    for path in [run / "header.json", *run.glob("evaluations/*.json")]:
        assert str(run.parent) not in path.read_text()
        json.loads(path.read_text())
    assert Path(run / "records.jsonl").exists()
