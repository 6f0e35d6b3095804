"""attack, certify and check on a trained run and on a model of the user's own."""

import json
import re
import sys

import pytest
import torch

from gambeson.evaluation import pilot
from gambeson.inference import trial
from gambeson.records import Run

SMALL = ("--limit", 12)
CERTIFY = ("--draws", 200, "--select-draws", 20, "--noise", "gaussian:0.25")


def kinds(run) -> list[str]:
    return sorted(evaluation["kind"] for evaluation in Run.open(run).evaluations())


def test_the_whole_road(gambeson, run, tmp_path) -> None:
    done = gambeson("attack", run, "--eps", "0,8/255,0.2", "--steps", 5, *SMALL)
    assert done.status == 0, done.err
    assert "natural accuracy" in done.out
    assert "pgd linf eps 0.03137" in done.out
    assert kinds(run) == ["attacked"] * 3 + ["clean"]
    done = gambeson(
        "attack", run, "--eps", "0.2", "--norm", "l2", "--noise", "gaussian:0.25", "--steps", 3,
        "--predict-draws", 100, *SMALL,
    )  # fmt: skip
    assert done.status == 0, done.err
    done = gambeson("certify", run, *CERTIFY, *SMALL)
    assert done.status == 0, done.err
    assert "gaussian:0.25: at most 200 draws at alpha 0.001 certify at most gaussian_l2 0.25" in done.out
    assert "gaussian_l2, certified accuracy at radius  0: " in done.out
    done = gambeson("check", run, "--no-measure")
    assert done.status == 0, done.err
    verdicts = {check["check"]: check["verdict"] for check in Run.open(run).checks()}
    assert verdicts["certified_not_above_attacked"] == "pass"
    assert verdicts["success_grows_with_eps"] == "not_run"  # 12 images say too little
    assert verdicts["one_step_not_better"] == "not_run"
    assert len(done.out.splitlines()) >= 5
    done = gambeson("report", run, "--out", tmp_path / "report")
    assert done.status == 0, done.err
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["runs"][0]["examples"] == 12


def test_the_road_of_splitting_noise(gambeson, run, tmp_path) -> None:
    """No draws, no alpha: every noisy copy is counted by certify, by attack and by verify, and the report says so."""
    done = gambeson("certify", run, "--noise", "splitting:0.75", *SMALL)
    assert done.status == 0, done.err
    assert "splitting:0.75: 24 draws at alpha 0 certify at most splitting_l1 0.750" in done.out
    words = ("--eps", "0.5,3", "--norm", "l1", "--noise", "splitting:0.75", "--steps", 3, "--attack-draws", 4)
    assert gambeson("attack", run, *words, *SMALL).status == 0
    assert gambeson("check", run, "--no-measure").status == 0
    assert {c["check"]: c["verdict"] for c in Run.open(run).checks()}["certified_not_above_attacked"] == "pass"
    done = gambeson("verify", run, "--images", 5)
    assert done.status == 0, done.err
    assert re.search(r": stands \(.*; on fresh noise 0 of 5 images' claims are rejected \(0 allowed\)\)", done.out)
    lines = (run / "records.jsonl").read_text()
    (run / "records.jsonl").write_text(lines.replace('"radii":{"splitting_l1":0.', '"radii":{"splitting_l1":1.', 1))
    assert "its counts give" in gambeson("verify", run).err
    (run / "records.jsonl").write_text(lines)
    assert gambeson("report", run, "--out", tmp_path / "report").status == 0
    (told,) = json.loads((tmp_path / "report" / "summary.json").read_text())["runs"][0]["certified"]
    assert (told["alpha"], told["abstained"], told["draws_mean"], told["max_radius"]) == (0.0, 0.0, 24, 0.75)
    assert gambeson("export", run, "--format", "tsv", "--out", tmp_path / "logs").status == 0
    done = gambeson("certify", run, "--noise", "splitting:0.75", "--radii", "0,0.25", "--alpha", 0.001)
    assert (done.status, "leave --alpha, --radii out" in done.err) == (2, True)


def test_every_image_has_its_record_and_every_record_its_evaluation(gambeson, run) -> None:
    assert gambeson("certify", run, *CERTIFY, "--every", 50).status == 0
    opened = Run.open(run)
    (certified,) = opened.evaluations("certified")
    assert certified["data"]["rule"] == "every 50th test image"
    assert certified["command"].startswith("gambeson certify run --draws 200")
    indices = [record["index"] for record in opened.records(certified["id"])]
    assert indices == sorted(indices)
    assert all(index % 50 == 0 for index in indices)
    assert len(indices) == certified["examples"]
    assert {record["evaluation"] for record in opened.records()} == {e["id"] for e in opened.evaluations()}


def test_several_noises_at_once(gambeson, run) -> None:
    words = ("--draws", 50, "--select-draws", 10, "--noise", "gaussian:0.25, laplace:0.2,uniform:0.5", "--limit", 3)
    assert gambeson("certify", run, *words).status == 0
    noises = {evaluation["settings"]["noise"] for evaluation in Run.open(run).evaluations("certified")}
    assert noises == {"gaussian:0.25", "laplace:0.2", "uniform:0.5"}


def test_soft_smoothing_is_another_classifier_from_command_to_report(gambeson, run, tmp_path) -> None:
    """Its certificates stand beside those of the vote, under a name of their own, and meet no attack on the vote."""
    words = ("--eps", "0.1", "--norm", "l2", "--noise", "gaussian:0.25", "--steps", 2, "--predict-draws", 100)
    assert gambeson("attack", run, *words, *SMALL).status == 0
    done = gambeson("certify", run, *CERTIFY, *SMALL, "--smoothing", "soft")
    assert done.status == 0, done.err
    assert "soft gaussian:0.25: 200 draws at alpha 0.001 certify at most gaussian_l2 0.4" in done.out
    assert gambeson("certify", run, *CERTIFY, *SMALL, "--smoothing", "soft", "--radii", "0,0.1").status == 2
    assert gambeson("check", run, "--no-measure").status == 0
    verdicts = {check["check"]: check["verdict"] for check in Run.open(run).checks()}
    assert verdicts["certified_not_above_attacked"] == "not_run"
    assert gambeson("certify", run, *CERTIFY, *SMALL).status == 0
    assert gambeson("export", run, "--format", "tsv", "--out", tmp_path / "logs").status == 0
    log = (tmp_path / "logs" / "run-soft-gaussian-0.25-gaussian_l2.tsv").read_text()
    assert "\tsoft gaussian:0.25\t" in log
    for source in (run, tmp_path / "logs" / "run-soft-gaussian-0.25-gaussian_l2.tsv"):
        done = gambeson("report", source, "--out", tmp_path / "report")
        assert done.status == 0, done.err
    done = gambeson("report", run, "--out", tmp_path / "report")
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    found = {(series["noise"], series["certificate"]) for series in summary["runs"][0]["certified"]}
    assert {("soft gaussian:0.25", "gaussian_l2"), ("gaussian:0.25", "gaussian_l2")} <= found
    assert ("soft gaussian:0.25", "gaussian_l2_two_sided") not in found
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Soft smoothing" in page
    both = next((tmp_path / "report").rglob("both*.csv")).read_text()
    assert "gaussian:0.25" in both
    assert "soft" not in both


def test_the_noise_that_it_was_trained_with_is_the_default(gambeson, run) -> None:
    done = gambeson("certify", run, "--draws", 50, "--select-draws", 10, "--limit", 3)
    assert done.status == 0, done.err
    (certified,) = Run.open(run).evaluations("certified")
    assert certified["settings"]["noise"] == "gaussian:0.25"


def test_the_same_command_does_nothing_twice(gambeson, run) -> None:
    words = ("certify", run, *CERTIFY, *SMALL)
    first = gambeson(*words)
    before = (run / "records.jsonl").read_bytes()
    second = gambeson(*words)
    assert (second.status, second.out) == (0, first.out)
    assert (run / "records.jsonl").read_bytes() == before


def test_validation_images_are_those_of_the_recipe(gambeson, run) -> None:
    assert gambeson("attack", run, "--split", "validation", "--steps", 1).status == 0
    (clean,) = Run.open(run).evaluations("clean")
    assert (clean["data"]["split"], clean["examples"]) == ("validation", 100)


QUICK = ("--steps", 60, "--restarts", 2, "--queries", 150, "--noise-draws", 50)


def test_a_diagnosis_is_recorded_once_and_shown(gambeson, run, tmp_path) -> None:
    done = gambeson("check", run, "--eps", "0.1", *QUICK)
    assert done.status == 0, done.err
    assert kinds(run) == ["diagnosed"]
    (found,) = Run.open(run).evaluations("diagnosed")
    assert (found["examples"], found["settings"]["eps"], found["settings"]["budget"]["steps"]) == (200, 0.1, 60)
    verdicts = {check["check"]: check["verdict"] for check in Run.open(run).checks()}
    assert (verdicts["gradients_available"], verdicts["black_box_not_better"]) == ("pass", "not_run")  # too few queries
    before = (run / "records.jsonl").read_bytes()
    assert gambeson("check", run, "--eps", "0.1", *QUICK).out == done.out
    assert (run / "records.jsonl").read_bytes() == before
    assert gambeson("report", run, "--out", tmp_path / "report").status == 0
    assert "Have attacks converged" in (tmp_path / "report" / "index.html").read_text()


def test_a_diagnosis_is_of_what_was_attacked(gambeson, run) -> None:
    assert gambeson("attack", run, "--norm", "l2", "--eps", "0.2,0.5", "--steps", 2, *SMALL).status == 0
    assert gambeson("check", run, *QUICK, *SMALL).status == 0
    (found,) = Run.open(run).evaluations("diagnosed")
    assert (found["settings"]["norm"], found["settings"]["eps"]) == ("l2", 0.5)
    words = ("--noise", "gaussian:0.25", "--attack-draws", 2, "--eps", "0.1", "--norm", "linf")
    done = gambeson("check", run, *words, *QUICK, "--limit", 3)
    assert done.status == 0, done.err
    assert Run.open(run).evaluations("diagnosed")[-1]["settings"]["target"] == "smoothed"


def test_transfer_from_a_model_that_is_trained_alike(gambeson, run) -> None:
    done = gambeson("attack", run, "--attack", "transfer", "--transfer", "train", "--eps", "0.1", *SMALL)
    assert done.status == 0, done.err
    other = Run.open(run / "independent")
    assert other.header["seed"] != Run.open(run).header["seed"]
    (found,) = Run.open(run).evaluations("attacked")
    assert found["settings"]["source"] == other.header["model_hash"] != Run.open(run).header["model_hash"]


def test_check_fails_on_what_it_is_told_to(gambeson, run) -> None:
    words = ("attack", run, "--eps", "0.1", "--step-size", "0.2", "--steps", 2, *SMALL)
    assert gambeson(*words).status == 0
    done = gambeson("check", run, "--no-measure")
    assert done.status == 0
    assert "doubt    step_size_within_eps" in done.out
    assert "next: Use a step size of eps/10" in done.out
    done = gambeson("check", run, "--no-measure", "--fail-on", "doubt")
    assert (done.status, done.err.count("\n")) == (1, 1)


def test_a_model_that_turns_out_to_be_random_fails_what_was_recorded_of_it(gambeson, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moody.py").write_text(
        "import os, torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def forward(self, x):\n"
        "        z = super().forward(x.flatten(1))\n"
        "        return z + torch.randn_like(z) if 'MOODY' in os.environ else z\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    return Net(64, 10)\n"
    )
    run = tmp_path / "r"
    done = gambeson("attack", "moody:net", "--data", "digits", "--out", run, "--steps", 1, "--limit", 3)
    assert done.status == 0, done.err
    monkeypatch.setenv("MOODY", "1")
    done = gambeson("check", run, "--factory", "moody:net", "--limit", 3)
    assert (done.status, "Traceback" in done.err) == (1, False)
    assert "the check model_contract fails" in done.err
    [check] = Run.open(run).checks()
    assert (check["check"], check["verdict"]) == ("model_contract", "fail")


def test_a_suite_says_about_how_long_it_will_take_before_it_starts(gambeson, run, monkeypatch) -> None:
    from gambeson.evaluation import attacked

    monkeypatch.setattr(sys.modules[attacked.__module__], "seconds", lambda *_: 30.0)
    words = ("attack", run, "--preset", "weak", "--eps", "0.1,0.2", "--limit", 12)
    done = gambeson(*words)
    assert "about 12 min if all images hold out" in done.err
    assert "about" not in gambeson(*words).err  # nothing is left to do


def test_a_model_that_changed_under_its_records_is_refused(gambeson, run) -> None:
    from gambeson import models

    model = models.load(run / "model.safetensors")
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    models.save(model, run / "model.safetensors")
    done = gambeson("certify", run, *CERTIFY, *SMALL)
    assert done.status == 2
    assert "has changed since its header was written" in done.err


def test_a_folder_is_trained_in_or_evaluates_a_given_model_never_both(gambeson, run, tmp_path) -> None:
    """The header would be another model's."""
    given, out = (run / "model.safetensors", "--data", "digits", *CERTIFY, *SMALL), tmp_path / "out"
    out.mkdir()
    (out / "recipe.toml").write_bytes((run / "recipe.toml").read_bytes())
    done = gambeson("certify", *given, "--out", out)
    assert (done.status, "holds a training that has not ended" in done.err) == (2, True)
    assert gambeson("certify", *given, "--out", tmp_path / "other").status == 0
    done = gambeson("train", "digits-noisy", "--set", "train.epochs=1", "--out", tmp_path / "other")
    assert (done.status, "a model that was not trained there" in done.err) == (2, True)


@pytest.mark.parametrize("kind", ["attack", "certify"])
def test_bring_your_own_model_with_weights_and_normalisation(gambeson, own, tmp_path, kind) -> None:
    model = (f"{own.name}:bare", "--weights", "weights.pt", "--mean", "0.5", "--std", "0.25")
    words = (*CERTIFY, *SMALL) if kind == "certify" else ("--eps", "0.05", "--steps", 3)
    out = tmp_path / "records"
    done = gambeson(kind, *model, "--data", "digits", "--out", out, *words)
    assert done.status == 0, done.err
    accuracy = float(done.out.split("natural accuracy ")[1].split()[0])
    assert accuracy > 0.85
    header = Run.open(out).header
    assert (header["model"], header["dataset"], header["method"]) == (f"{own.name}:bare", "digits", None)
    # The folder is a run: it can be evaluated again with the same weights, and with no others.
    again = gambeson(kind, out, "--factory", *model, *words)
    assert (again.status, again.out) == (0, done.out)
    unnamed = gambeson(kind, out, *model[1:], *words)
    assert (unnamed.status, f"give --factory {model[0]} if that is your own code" in unnamed.err) == (2, True)
    other = gambeson(kind, out, "--factory", *model[:5], "--std", "0.3", *words)
    assert other.status == 2
    assert "give the --weights, --mean and --std that it was begun with" in other.err
    another = gambeson(kind, *model[:3], "--data", "digits", "--out", out, *words)
    assert another.status == 2
    assert "is about another model" in another.err


def test_workers_find_a_class_beside_the_user(gambeson, own, tmp_path, monkeypatch) -> None:
    """In processes that are spawned, which know no more than sys.path tells them."""
    source = "from torch import nn\n\nclass Net(nn.Sequential):\n"
    source += "    def __init__(self):\n        super().__init__(nn.Flatten(), nn.Linear(64, 10))\n"
    (own.parent / f"{own.name}_class.py").write_text(source)
    monkeypatch.setattr("sys.path", [*sys.path])
    words = ("--data", "digits", "--out", tmp_path / "records", "--noise", "gaussian:0.25", "--draws", 300)
    words += ("--limit", 4, "--radii", "0")
    done = gambeson("certify", f"{own.name}_class:Net", *words, "--workers", 2, "--dtype", "float32", "--batch", 100)
    assert done.status == 0, done.err
    assert len(Run.open(tmp_path / "records").records()) == 8  # clean ones too


def test_forgotten_normalisation_is_doubted_aloud(gambeson, own, tmp_path) -> None:
    (own.parent / "weights.pt").unlink()
    words = (f"{own.name}:bare", "--data", "digits", "--out", tmp_path / "r", "--steps", 1)
    done = gambeson("attack", *words)
    assert done.status == 0, done.err
    assert "doubt: " in done.err
    assert "--mean/--std" in done.err


def test_a_suite_says_what_a_black_box_leaves_of_it(gambeson, own, tmp_path) -> None:
    words = (f"{own.name}:scores", "--data", "digits", "--out", tmp_path / "r", "--preset", "standard", *SMALL)
    done = gambeson("attack", *words, "--share", "0.02", "--eps", "0.1")
    assert done.status == 0, done.err
    assert "the model has no gradient: of standard only square can run" in done.err
    done = gambeson("export", tmp_path / "r", "--format", "robustbench", "--out", tmp_path / "rb")
    assert (done.status, "all four attacks (a gradient, four classes), with --share 1" in done.err) == (2, True)
    assert not (tmp_path / "rb").exists()


def test_weights_that_gambeson_wrote_need_no_factory(gambeson, run, tmp_path) -> None:
    words = (run / "model.safetensors", "--data", "digits", "--out", tmp_path / "copy", "--steps", 2, *SMALL)
    done = gambeson("attack", *words)
    assert done.status == 0, done.err
    assert Run.open(tmp_path / "copy").header["model_hash"] == Run.open(run).header["model_hash"]


def test_adversarial_images_are_kept(gambeson, run) -> None:
    from safetensors.torch import load_file

    assert gambeson("attack", run, "--eps", "0.1", "--steps", 2, "--limit", 30, "--keep", 4).status == 0
    (attacked,) = Run.open(run).evaluations("attacked")
    kept = load_file(run / "adversarial" / f"{attacked['id']}.safetensors")
    assert kept["indices"].tolist() == [r["index"] for r in Run.open(run).records(attacked["id"])][:4]
    assert (kept["x_adv"] - kept["x"]).abs().amax() <= 0.1 + 1e-6
    assert kept["x"].shape == kept["x_adv"].shape == (4, 1, 8, 8)


def test_a_damaged_file_of_adversarial_images_is_named(gambeson, run, tmp_path) -> None:
    words = ("attack", run, "--eps", "0.1", "--steps", 2, "--limit", 10)
    assert gambeson(*words).status == 0
    (kept,) = (run / "adversarial").glob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-50])
    for command in (words, ("report", run, "--out", tmp_path / "page")):
        done = gambeson(*command)
        assert done.status == 2
        assert f"{kept} is damaged" in done.err
    assert gambeson(*words, "--keep", -1).status == 2


def test_a_model_that_calls_view_runs_in_the_form_that_it_can(gambeson, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "viewing.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.features, self.last = torch.nn.Conv2d(1, 2, 3), torch.nn.Linear(72, 10)\n"
        "    def forward(self, x):\n"
        "        assert x.shape[1:] == (1, 8, 8)\n"
        "        return self.last(self.features(x).view(-1, 72))\n"
        "net = Net\n"
    )
    words = ("--data", "digits", "--out", tmp_path / "r", "--limit", 3)
    done = gambeson("certify", "viewing:net", *CERTIFY, *words)
    assert done.status == 0, done.err
    (certified,) = Run.open(tmp_path / "r").evaluations("certified")
    assert certified["settings"]["form"]["memory"] == "contiguous"
    assert gambeson("certify", "viewing:net", *CERTIFY, *words, "--memory", "channels_last").status == 2


@pytest.mark.usefixtures("forked_workers")
def test_what_is_finished_may_have_been_done_with_other_threads(gambeson, run) -> None:
    """Natural accuracy stands beside every number; nobody should have to do it again to certify with workers."""
    assert gambeson("attack", run, "--eps", "0", "--threads", 2, *SMALL).status == 0
    done = gambeson("certify", run, *CERTIFY, *SMALL, "--workers", 2)
    assert done.status == 0, done.err
    done = gambeson("attack", run, "--eps", "0", "--threads", 1, *SMALL)
    assert done.status == 0, done.err


FIXED, GRID = ("--budget", "fixed"), ("--radii", "0,0.1,1/4", "--price", 1e5)


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize(
    ("radii", "engine"),
    [(FIXED, ()), (GRID, ("--workers", 2)), pytest.param(GRID, ("--engine", "ray"), marks=pytest.mark.long)],
    ids=str,
)
def test_no_engine_changes_a_record(gambeson, run, monkeypatch, radii, engine) -> None:
    """Where nothing is said, it is as many processes as there are cores, if the work is worth it."""
    if "ray" in engine:
        pytest.importorskip("ray", reason="Ray is not installed (pip install gambeson[ray])")
    monkeypatch.setattr(pilot, "FEW_CALLS", 1)
    monkeypatch.setattr(pilot, "FEW_SECONDS", 0)
    monkeypatch.setattr(trial, "PROCESSES_FROM", 0)
    monkeypatch.setattr("gambeson.machine.cores", lambda: 2)
    words = ("--noise", "gaussian:0.25", "--draws", 400, "--select-draws", 20, "--every", 15, "--threads", 1, *radii)
    done = gambeson("certify", run, *words, *engine)
    assert done.status == 0, done.err
    assert ("in each of 2 processes" in done.err) == ("ray" not in engine)
    shared = Run.open(run).records()
    (run / "records.jsonl").unlink()
    assert gambeson("certify", run, *words, "--workers", 1).status == 0
    alone = Run.open(run).records()
    for records in (shared, alone):
        records.sort(key=lambda record: (record["evaluation"], record["index"]))
        for record in records:
            del record["seconds"]
    assert shared == alone


def test_a_grid_of_radii_and_its_report(gambeson, run, tmp_path) -> None:
    words = ("--noise", "gaussian:0.25", "--draws", 3000, "--select-draws", 50, "--every", 20)
    done = gambeson("certify", run, "--radii", "0,0.1,1/4", "--price", 1e5, *words)
    assert done.status == 0, done.err
    assert "gaussian:0.25: at most 3000 draws at alpha 0.001 certify at most gaussian_l2 0.25" in done.out
    assert "gaussian_l2, certified accuracy at radius  0: " in done.out
    (certified,) = Run.open(run).evaluations("certified")
    records = Run.open(run).records(certified["id"])
    assert {record["radius_kind"] for record in records} == {"grid"}
    assert gambeson("certify", run, "--budget", "fixed", *words).status == 0
    assert gambeson("report", run, "--out", tmp_path / "report").status == 0
    (summary,) = json.loads((tmp_path / "report" / "summary.json").read_text())["runs"]
    kinds = {(c["certificate"], c["radius_kind"]): c for c in summary["certified"]}
    grid, full = kinds["gaussian_l2", "grid"], kinds["gaussian_l2", "full"]
    assert (grid["average_radius"], full["average_radius"] > 0.1) == (None, True)
    assert grid["draws_mean"] < full["draws_mean"] == 3000
    assert {0.0, 0.1, 0.25} <= {point["radius"] for point in grid["curve"]}
    page = (tmp_path / "report" / "index.html").read_text()
    assert f"In {certified['id']} draws were spent on deciding the radii of a grid" in page
    exported = gambeson("export", run, "--format", "tsv", "--out", tmp_path / "logs")
    assert exported.status == 0, exported.err
    assert gambeson("report", *sorted((tmp_path / "logs").glob("*.tsv")), "--out", tmp_path / "again").status == 0


def test_a_grid_of_ones_own_mistakes(gambeson, run) -> None:
    for words, message in (
        (("--radii", "0,1"), "radius 1 is out of reach of 100000 draws"),
        (("--radii", "0.5,0.25"), "must increase"),
        (("--radii", "a"), "--radii is 'a'"),
        (("--radii", "0,0.1", "--price", "0"), "price = 0"),
        (("--budget", "fixed", "--stop-wrong"), "--stop-wrong goes with a grid of radii"),
    ):
        done = gambeson("certify", run, "--noise", "gaussian:0.25", *words, *SMALL)
        assert (done.status, "Traceback" in done.err) == (2, False)
        assert message in done.err
