"""gambeson verify: a run folder is evidence."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gambeson import jsonl
from gambeson.cli import evidence
from gambeson.data import load
from gambeson.models.flag import Flag
from gambeson.sampling import Counts
from gambeson.smoothed import company

CERTIFY = ("--noise", "gaussian:0.25", "--draws", 500, "--select-draws", 20, "--every", 10)
FIXED = ("--budget", "fixed")
VERIFY = ("--images", 15, "--draws", 500, "--seed", 5)


def test_an_honest_run_stands_and_says_so(gambeson, run) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0
    assert gambeson("certify", run, *CERTIFY, "--radii", "0,0.1").status == 0
    done = gambeson("verify", run, *VERIFY)
    assert done.status == 0, done.err
    assert done.out.count("stands") == 2
    verdicts = json.loads((run / "verified.json").read_text())["verified"]
    assert [verdict["stands"] for verdict in verdicts] == [True, True]
    assert all(verdict["images"] == 15 for verdict in verdicts)


def test_soft_certificates_stand_too_and_an_evaluation_without_claims_is_no_obstacle(gambeson, own, tmp_path) -> None:
    model = (f"{own.name}:bare", "--weights", "weights.pt", "--mean", "0.5", "--std", "0.25", "--data", "digits")
    words = ("--draws", 200, "--select-draws", 20, "--limit", 10, "--smoothing", "soft", "--out", tmp_path / "r")
    assert gambeson("certify", *model, *words, "--noise", "gaussian:0.1,gaussian:9").status == 0
    done = gambeson("verify", tmp_path / "r", *model[1:-2], *VERIFY)
    assert (done.status, f"what a folder names is not run: give --factory {own.name}:bare" in done.err) == (2, True)
    done = gambeson("verify", tmp_path / "r", "--factory", model[0], *model[1:-2], *VERIFY)
    assert done.status == 0, done.err
    assert "soft gaussian:0.1 (certified-" in done.out
    verdicts = json.loads((tmp_path / "r" / "verified.json").read_text())["verified"]
    assert [verdict["stands"] for verdict in verdicts] == [True, True]
    assert [verdict["images"] for verdict in verdicts] == [10, 10]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"p_lower":0.', '"p_lower":0.9999', "p_lower is"),
        ('"hash":"', '"hash":"0', "its hash differs"),
        ('"label":', '"label":1', "is of class"),
    ],
)
def test_a_touched_run_does_not_stand(gambeson, run, old, new, words) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0
    lines = (run / "records.jsonl").read_text().splitlines(keepends=True)
    lines[-1] = lines[-1].replace(old, new, 1)
    (run / "records.jsonl").write_text("".join(lines))
    done = gambeson("verify", run, *VERIFY)
    assert done.status == 1
    assert words in done.err


def test_counts_that_agree_with_all_but_the_model_do_not_stand(gambeson, run, monkeypatch) -> None:
    """Votes that nobody cast: only fresh noise finds that out."""

    def unanimous(served, requests, **options) -> list[Counts]:
        return [Counts(request.draws * np.eye(10, dtype=np.int64)[0], request.draws) for request in requests]

    with monkeypatch.context() as patch:
        patch.setattr(company, "counts", unanimous)
        assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0
    done = gambeson("verify", run, *VERIFY)
    assert done.status == 1
    assert "all 36 records agree with their counts and images" in done.out
    assert "DOES NOT STAND" in done.out
    assert "more claims fail on fresh noise than chance allows" in done.err
    (verdict,) = json.loads((run / "verified.json").read_text())["verified"]
    assert len(verdict["rejected_images"]) == verdict["rejected"] > verdict["allowed"]


def test_votes_that_were_left_out_for_a_larger_two_sided_radius_are_missed(gambeson, run, monkeypatch) -> None:
    """Each record agrees with its counts, and its class has the votes that it says."""

    def left_out(served, requests, **options) -> list[Counts]:
        return [Counts(np.where(one.classes == one.classes.max(), one.classes, 0), one.draws)
                for one in counts(served, requests, **options)]  # fmt: skip

    counts = company.counts
    with monkeypatch.context() as patch:
        patch.setattr(company, "counts", left_out)
        assert gambeson("certify", run, *CERTIFY, *FIXED, "--noise", "gaussian:0.5").status == 0
    done = gambeson("verify", run, "--draws", 2_000, "--seed", 5)
    assert "all 36 records agree with their counts and images" in done.out
    assert (done.status, "more claims fail on fresh noise than chance allows" in done.err) == (1, True)


def test_validation_images_are_found_and_taken_for_no_other(gambeson, run) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED, "--split", "validation").status == 0
    done = gambeson("verify", run, *VERIFY)
    assert done.status == 0, done.err
    assert "every 10th validation image of digits, gaussian:0.25" in done.out
    assert "all 11 records agree with their counts and images" in done.out
    for change, words in (
        (lambda evaluation: evaluation["data"].update(rule="every 10th test image"), "writes no such rule"),
        (lambda evaluation: evaluation["data"].update(dataset="mnist"), "it is about mnist, the run about digits"),
    ):
        rewrite(run, change)
        rewrite(run, lambda evaluation: None, re.findall(r"they give (certified-\w+)", verified(gambeson, run))[0])
        assert words in verified(gambeson, run)


def verified(gambeson, run: Path) -> str:
    done = gambeson("verify", run, *VERIFY)
    assert done.status == 1
    return done.err


@pytest.mark.parametrize(
    ("name", "value"), [("levels", 255), ("levels", None), ("shape", [1, 16, 4]), ("classes", list("9876543210"))]
)
def test_a_header_that_predict_would_go_by_is_that_of_the_data(gambeson, run, name, value) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0
    header = json.loads((run / "header.json").read_text())
    (run / "header.json").write_text(json.dumps({**header, name: value}))
    assert f"the {name} of digits are" in verified(gambeson, run)


def test_doubts_that_were_taken_away_are_missed(gambeson, own, tmp_path, monkeypatch) -> None:
    model = (f"{own.name}:bare", "--weights", "weights.pt", "--mean", "0.5", "--std", "0.25", "--data", "digits")
    words = ("--noise", "gaussian:0.1", "--draws", 200, "--limit", 10, "--out", tmp_path / "r")
    assert gambeson("certify", *model, *words, *FIXED).status == 0
    monkeypatch.setattr(evidence, "inspect", lambda model, data: (10, [Flag("softmax_outputs", "doubt", "...")]))
    done = gambeson("verify", tmp_path / "r", "--factory", model[0], *model[1:-2], *VERIFY)
    assert (done.status, "does not tell the doubts" in done.err, "softmax_outputs" in done.err) == (1, True, True)


def test_what_was_only_begun_is_no_obstacle(gambeson, run) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0
    records = (run / "records.jsonl").read_text()
    assert gambeson("certify", run, *CERTIFY, *FIXED, "--seed", 1).status == 0
    (run / "records.jsonl").write_text(records)
    done = gambeson("verify", run, *VERIFY)
    assert (done.status, done.out.count("stands"), done.out.count("begun, nothing is claimed yet")) == (0, 1, 1)
    (run / "records.jsonl").write_text("")
    assert "holds no certificates" in gambeson("verify", run).err


def test_evidence_that_cannot_be_written_to_is_judged_all_the_same(gambeson, run, monkeypatch) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0

    def refuse(*given: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(jsonl, "write_json", refuse)
    done = gambeson("verify", run, *VERIFY)
    assert (done.status, "note: verified.json is not written (Permission denied)" in done.err) == (0, True)


def test_the_data_may_lie_elsewhere_than_where_the_run_had_it(gambeson, own, tmp_path) -> None:
    test = load("digits", "test").subset(range(60))
    for place in ("alice", "bob"):
        (tmp_path / place).mkdir()
        np.savez(tmp_path / place / "x.npz", x=test.images.byte().numpy() * 15, y=test.labels.numpy())
    model = (f"{own.name}:bare", "--weights", "weights.pt", "--mean", "0.5", "--std", "0.25")
    words = ("--data", f"npz:{tmp_path}/alice/x.npz", "--noise", "gaussian:0.1", "--draws", 200, *FIXED)
    assert gambeson("certify", *model, *words, "--out", tmp_path / "r").status == 0
    (tmp_path / "alice" / "x.npz").unlink()
    evidence = ("verify", tmp_path / "r", "--factory", *model, *VERIFY)
    assert gambeson(*evidence).status == 2
    done = gambeson(*evidence, "--data", f"npz:{tmp_path}/bob/x.npz")
    assert done.status == 0, done.err


def rewrite(run: Path, change: Callable[[dict], object], name: str = "") -> None:
    """Change what the only certified evaluation says of itself; under `name`, with its records."""
    (path,) = (run / "evaluations").glob("certified-*.json")
    evaluation = json.loads(path.read_text())
    change(evaluation)
    if name:
        records = (run / "records.jsonl").read_text()
        (run / "records.jsonl").write_text(records.replace(evaluation["id"], name))
        evaluation["id"] = name
    path.write_text(json.dumps(evaluation))


def test_settings_that_were_changed_afterwards_are_found_out(gambeson, run) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0
    rewrite(run, lambda evaluation: evaluation["settings"].update(tau=0.0))
    done = gambeson("verify", run, *VERIFY)
    assert done.status == 1
    assert "are not those that its id is made of (they give certified-" in done.err
    rewrite(run, lambda evaluation: None, re.findall(r"they give (certified-\w+)", done.err)[0])
    done = gambeson("verify", run, *VERIFY)
    assert done.status == 1
    assert "the settings are not consistent: tau is 0.0" in done.err


def test_so_few_images_that_nothing_could_be_refuted_are_said_to_be(gambeson, run) -> None:
    assert gambeson("certify", run, *CERTIFY, "--radii", "0", "--limit", 1).status == 0
    said = gambeson("verify", run, *VERIFY).out
    assert re.search(r": stands \(.*, which proves nothing: radii are claimed of 1 of them, give more --images\)", said)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda settings: settings.update(draws=5), "cannot be certified"),
        (lambda settings: settings.update(noise="pink:0.25"), "noise kind is 'pink'"),
        (lambda settings: settings["form"].update(shape="round"), "form.shape"),
        (lambda settings: settings.pop("form"), "'form'"),
        (lambda settings: settings["budget"].pop("rule"), "rule"),
    ],
)
def test_settings_that_nobody_could_have_used_do_not_stand(gambeson, run, change, words) -> None:
    assert gambeson("certify", run, *CERTIFY, "--radii", "0,0.1", "--limit", 5).status == 0
    rewrite(run, lambda evaluation: change(evaluation["settings"]))
    name = re.findall(r"they give (certified-\w+)", gambeson("verify", run, *VERIFY).err)[0]
    rewrite(run, lambda evaluation: None, name)
    done = gambeson("verify", run, *VERIFY)
    assert (done.status, words in done.err) == (1, True), done.err
    (verdict,) = json.loads((run / "verified.json").read_text())["verified"]
    assert verdict["stands"] is False


def test_rows_that_are_said_to_differ_here_and_do_not_are_found_out(gambeson, run) -> None:
    assert gambeson("certify", run, *CERTIFY[:2], "--draws", 600, "--batch", 200, "--limit", 3, *FIXED).status == 0
    rewrite(run, lambda evaluation: evaluation["settings"].update(positions="mixture"))
    name = re.findall(r"they give (certified-\w+)", gambeson("verify", run, *VERIFY).err)[0]
    rewrite(run, lambda evaluation: None, name)
    done = gambeson("verify", run, *VERIFY)
    assert done.status == 1
    assert "positions is mixture, the rows of a call are alike" in done.err
    rewrite(run, lambda evaluation: evaluation["machine"].update(unit="another"))  # where they may differ
    assert gambeson("verify", run, *VERIFY).status == 0


def swap_counts(run: Path) -> None:
    """Two images of one class each get what was counted around the other; each record agrees with its counts."""
    lines = (run / "records.jsonl").read_text().splitlines()
    found = {row: record for row, record in enumerate(map(json.loads, lines)) if record.get("radius_kind") == "exact"}
    one, other = next(
        (row, later)
        for row, a in found.items()
        for later, b in found.items()
        if a["correct"] and b["correct"] and a["label"] == b["label"] and a["counts"] != b["counts"]
    )
    own = ("index", "hash", "label")
    for row, source in ((one, other), (other, one)):
        lines[row] = json.dumps({**found[source], **{name: found[row][name] for name in own}})
    (run / "records.jsonl").write_text("\n".join(lines) + "\n")


def test_exact_counts_that_agree_stand_anywhere_and_others_fall_on_their_kind_of_machine_only(gambeson, run) -> None:
    def verified() -> tuple[int, str]:
        done = gambeson("verify", run, "--images", 12)
        return done.status, done.out + done.err

    assert gambeson("certify", run, "--noise", "splitting:0.5", "--limit", 12).status == 0
    assert "0 of 12 images' claims are rejected (0 allowed)" in verified()[1]
    swap_counts(run)
    status, said = verified()
    assert status == 1
    assert re.search(r"DOES NOT STAND \(.*2 of 12 images' claims are rejected \(0 allowed\)\)", said)
    rewrite(run, lambda evaluation: evaluation["machine"].pop("processor"))  # as older versions wrote it
    status, said = verified()
    assert (status, "counted with a processor or versions that are not recorded: verify" in said) == (2, True)
    rewrite(run, lambda evaluation: evaluation["machine"].update(unit="another", threads=64))
    status, said = verified()
    assert (status, "2 of 12 images are not counted here as they were, which proves nothing" in said) == (2, True)
    assert "threads 64 (now 1), " in said
    assert "unit another (now " in said
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0  # the others are verified all the same
    _, said = verified()
    assert sorted(said.count(word) for word in ("): not verified", "): stands (")) == [1, 1]
    verdicts = json.loads((run / "verified.json").read_text())["verified"]
    assert {verdict["stands"] for verdict in verdicts} == {None, True}
    swap_counts(run)
    assert verified()[0] == 0


def test_records_that_were_taken_away_are_missed(gambeson, run) -> None:
    """Fewer failures make a higher accuracy: what is not there is as telling as what is."""
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0
    lines = (run / "records.jsonl").read_text().splitlines(keepends=True)
    gone = next(line for line in lines if '"evaluation":"certified' in line)
    (run / "records.jsonl").write_text("".join(line for line in lines if line != gone))
    done = gambeson("verify", run, *VERIFY)
    assert done.status == 1
    assert "35 of 36 records are there" in done.err
    rewrite(run, lambda evaluation: evaluation.update(examples=35))
    assert gambeson("verify", run, *VERIFY).status == 1
    rewrite(run, lambda evaluation: evaluation["data"].update(rule="the first 35 test images"))
    name = re.findall(r"they give (certified-\w+)", gambeson("verify", run, *VERIFY).err)[0]
    rewrite(run, lambda evaluation: None, name)
    done = gambeson("verify", run, *VERIFY)
    assert done.status == 1
    assert "are not the images that it is about" in done.err


def test_what_cannot_be_verified_is_said(gambeson, run) -> None:
    assert "holds no certificates" in gambeson("verify", run).err
    done = gambeson("verify", run / "model.safetensors", "--data", "digits")
    assert (done.status, "is not a run folder" in done.err) == (2, True)
    assert gambeson("verify", run, "--images", 0).status == 2


def test_levels_that_the_report_would_go_by_are_those_of_the_data(gambeson, run) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0
    rewrite(run, lambda evaluation: evaluation["data"].update(levels=None))
    rewrite(run, lambda evaluation: None, re.findall(r"they give (certified-\w+)", verified(gambeson, run))[0])
    assert "the levels of digits are 16, and the evaluation says None" in verified(gambeson, run)


def test_a_record_twice_or_impossible_does_not_stand(gambeson, run) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0
    lines = (run / "records.jsonl").read_text().splitlines(keepends=True)
    for more in (lines[-1], re.sub('"p_lower":[^,]*', '"p_lower":1.2', lines[-1]).replace('"index":', '"index":9')):
        (run / "records.jsonl").write_text("".join([*lines, more]))
        assert "do not stand" in verified(gambeson, run)


def test_what_cannot_be_judged_is_no_obstacle_to_the_rest(gambeson, run) -> None:
    for words in (FIXED, (*FIXED, "--split", "validation"), (*FIXED, "--seed", 1)):
        assert gambeson("certify", run, *CERTIFY, *words).status == 0
    (run / "recipe.toml").unlink()  # of the images that were held out nothing is known any more
    last = sorted((run / "evaluations").glob("certified-*.json"))[-1]
    one = json.loads(last.read_text())
    del one["settings"]["noise"]
    last.write_text(json.dumps(one))
    done = gambeson("verify", run, *VERIFY)
    assert (done.status, "Traceback" in done.err) == (1, False), done.err
    stands = [verdict["stands"] for verdict in json.loads((run / "verified.json").read_text())["verified"]]
    assert sorted(stands, key=str) == ([False, None, True] if one["data"]["split"] == "test" else [False, True, True])


def test_alpha_may_be_large_and_a_seed_not_negative(gambeson, run) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED, "--alpha", 0.7).status == 0
    assert gambeson("verify", run, *VERIFY).status == 0
    done = gambeson("verify", run, "--seed", -1)
    assert (done.status, "--seed is -1; it must be at least 0" in done.err) == (2, True)


def test_it_says_how_far_it_is_and_refuses_draws_that_no_bound_is_known_for(gambeson, run) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0
    assert re.search(r"verify gaussian:0.25.*: 15/15, ", gambeson("verify", run, *VERIFY).err)
    done = gambeson("verify", run, "--draws", 2_000_000_000)
    assert (done.status, "draws at most 1,000,000,000" in done.err) == (2, True)


def test_where_memory_runs_out_calls_get_fewer_rows(gambeson, run, monkeypatch) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0
    seen = []

    def full(smoothed, *given: object, **more: object) -> object:
        seen.append(smoothed.base.form.batch)
        if len(seen) < 3:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return whole(smoothed, *given, **more)

    whole = evidence.on_fresh_noise
    monkeypatch.setattr(evidence, "on_fresh_noise", full)
    assert gambeson("verify", run, *VERIFY).status == 0
    assert seen == [seen[0], seen[0] // 2, seen[0] // 4]


def test_memory_that_is_not_enough_refutes_nothing(gambeson, run, monkeypatch) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0

    def full(*given: object, **more: object) -> None:
        raise MemoryError

    monkeypatch.setattr(evidence, "on_fresh_noise", full)
    done = gambeson("verify", run, *VERIFY)
    assert (done.status, "not verified" in done.out, "memory runs out here" in done.err) == (2, True, True)
    assert json.loads((run / "verified.json").read_text())["verified"][0]["stands"] is None
