"""The inference form of a run is found once and kept, whatever the clock says later."""

import json
import signal
import time
from itertools import count
from pathlib import Path

import pytest
import torch
from stopping import FORM, KILLED, stop

from gambeson.cli import forms
from gambeson.inference import Served, trial
from gambeson.records import Run
from gambeson.smoothed.kept import certified_as

WORDS = ("--noise", "gaussian:0.25", "--draws", 200, "--select-draws", 20, "--limit", 4)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """A function that makes one number format the fastest by far, and trials worth their time."""
    monkeypatch.setattr(trial, "TRIAL_FROM", 0.0)

    def prefers(dtype: str) -> None:
        def measured(served: Served, images: object) -> float:
            return 100.0 * (1 + 9 * (served.form.dtype == dtype)) - served.form.threads

        monkeypatch.setattr(trial, "images_per_second", measured)

    return prefers


def dtypes(run) -> list[str]:
    """Of all certifications; which of two in one second was first is not told."""
    return sorted(evaluation["settings"]["form"]["dtype"] for evaluation in Run.open(run).evaluations("certified"))


def test_what_the_trial_chose_holds_for_good(gambeson, run, clock) -> None:
    clock("bfloat16")
    done = gambeson("certify", run, *WORDS)
    assert done.status == 0, done.err
    assert "form: bfloat16" in done.out
    (kept,) = json.loads((run / "forms.json").read_text())["forms"]
    assert {form["dtype"] for form in kept["tried"]} == {"float32", "bfloat16"}
    assert {"gambeson", "torch", "numpy", "scipy", "unit", "processor"} == kept["machine"].keys()
    clock("float32")
    again = gambeson("certify", run, *WORDS, "--seed", 1)
    assert "form: " not in again.out
    assert dtypes(run) == ["bfloat16"] * 2
    assert Run.open(run).evaluations("certified")[1]["settings"]["form"] == kept["form"]


def test_another_wish_is_another_trial(gambeson, run, clock) -> None:
    clock("bfloat16")
    assert gambeson("certify", run, *WORDS).status == 0
    assert gambeson("certify", run, *WORDS, "--dtype", "float32").status == 0
    assert dtypes(run) == ["bfloat16", "float32"]
    assert len(json.loads((run / "forms.json").read_text())["forms"]) == 2
    (run / "forms.json").unlink()
    clock("float32")
    assert gambeson("certify", run, *WORDS, "--seed", 1).status == 0
    assert dtypes(run) == ["bfloat16", "float32", "float32"]


def test_a_form_that_no_clock_chose_holds_too_but_not_for_far_more_work(gambeson, run, clock, monkeypatch) -> None:
    monkeypatch.setattr(trial, "TRIAL_FROM", 1e9)
    assert gambeson("certify", run, *WORDS, "--budget", "fixed").status == 0
    monkeypatch.setattr(trial, "TRIAL_FROM", 0.0)  # on a busy machine the same work would be worth a trial
    clock("bfloat16")
    assert gambeson("certify", run, *WORDS, "--budget", "fixed", "--seed", 1).status == 0
    assert dtypes(run) == ["float32"] * 2
    assert gambeson("certify", run, *WORDS, "--budget", "fixed", "--draws", 2_100).status == 0
    assert dtypes(run) == ["bfloat16", "float32", "float32"]
    # A command that is given again goes on where it was, in the form that it had.
    assert gambeson("certify", run, *WORDS, "--budget", "fixed").status == 0
    assert dtypes(run) == ["bfloat16", "float32", "float32"]


def test_attacks_on_the_smoothed_classifier_meet_the_form_that_was_certified(gambeson, run, clock) -> None:
    clock("bfloat16")
    assert gambeson("certify", run, *WORDS).status == 0
    clock("float32")
    words = ("--eps", "0.1", "--norm", "l2", "--noise", "gaussian:0.25", "--steps", 2, "--predict-draws", 100)
    assert gambeson("attack", run, *words, "--limit", 4).status == 0
    (attacked,) = Run.open(run).evaluations("attacked")
    assert attacked["settings"]["form"] == Run.open(run).evaluations("certified")[0]["settings"]["form"]


def test_a_form_that_another_machine_found_is_taken_and_that_is_said(gambeson, run, clock) -> None:
    clock("bfloat16")
    assert "found with" not in gambeson("certify", run, *WORDS).err
    path = run / "forms.json"
    path.write_text(path.read_text().replace('"torch": "', '"torch": "0.'))
    done = gambeson("certify", run, *WORDS, "--seed", 1)
    assert "found with torch 0." in done.err
    assert dtypes(run) == ["bfloat16"] * 2


@pytest.mark.parametrize("text", ["{}", '{"forms": [{}]}', '{"forms": [{"form": {"dtype": "float16"}}]}', "[]", "{"])
def test_forms_that_cannot_be_read_are_a_mistake(gambeson, run, text) -> None:
    (run / "forms.json").write_text(text)
    done = gambeson("certify", run, *WORDS)
    assert (done.status, "forms.json" in done.err) == (2, True), done.err


def test_a_process_that_is_refused_writes_no_form(gambeson, run, clock) -> None:
    clock("bfloat16")
    assert gambeson("certify", run, *WORDS).status == 0
    before = (run / "forms.json").read_bytes()
    with Run.open(run).writing():
        done = gambeson("certify", run, *WORDS, "--dtype", "float32")
    assert (done.status, "another process is writing" in done.err) == (2, True), done.err
    assert (run / "forms.json").read_bytes() == before


@pytest.mark.usefixtures("forked_workers")
def test_workers_take_the_form_that_the_run_has(gambeson, run, clock) -> None:
    clock("bfloat16")
    assert gambeson("certify", run, *WORDS, "--threads", 2).status == 0
    assert gambeson("certify", run, *WORDS, "--workers", 2).status == 0
    (evaluation,) = Run.open(run).evaluations("certified")
    assert evaluation["settings"]["form"]["threads"] == 2


@pytest.fixture
def memory_for(monkeypatch: pytest.MonkeyPatch):
    """A function that leaves memory for calls of so many rows, from some call on; what fails then is torch's own
    allocator. It gives a counter of the calls.
    """
    call = Served.__call__

    def rows(most: int, first: int = 0) -> "count[int]":
        calls = count()

        def limited(served: Served, images: torch.Tensor) -> torch.Tensor:
            if next(calls) >= first and len(images) > most:
                torch.empty(2**60, dtype=torch.uint8)
            return call(served, images)

        monkeypatch.setattr(Served, "__call__", limited)
        return calls

    return rows


def forget(run: Path) -> None:
    for path in (run / "records.jsonl", *run.glob("evaluations/*")):
        path.unlink()


ATTACK = (
    "--eps", "0.1", "--norm", "l2", "--noise", "gaussian:0.25", "--steps", 1, "--predict-draws", 100, "--limit", 4
)  # fmt: skip


@pytest.mark.parametrize("command", [("certify", *WORDS), ("attack", *ATTACK)], ids=["certify", "attack"])
def test_a_form_that_no_longer_fits_is_halved_for_good_before_anything_is_recorded(
    gambeson, run, clock, memory_for, command
) -> None:
    clock("float32")
    assert gambeson("certify", run, *WORDS).status == 0
    forget(run)
    memory_for(60)
    done = gambeson(command[0], run, *command[1:])
    assert done.status == 0, done.err
    assert "can't allocate memory" in done.err
    assert "with 50 images a call from now on" in done.err
    (kept,) = json.loads((run / "forms.json").read_text())["forms"]
    memory_for(10_000)
    assert gambeson(command[0], run, *command[1:], "--seed", 1).status == 0
    forms = [evaluation["settings"].get("form") for evaluation in Run.open(run).evaluations()]
    assert [form for form in forms if form] == [kept["form"]] * 2
    assert kept["form"]["batch"] == 50


def test_a_batch_that_does_not_fit_is_asked_for_again(gambeson, run, clock, memory_for) -> None:
    """The same command goes on in the form that did fit, and looks for no other."""
    clock("float32")
    memory_for(60)
    words = ("certify", run, *WORDS, "--batch", 100)
    assert gambeson(*words).status == 0
    before = (run / "forms.json").read_bytes()
    (kept,) = json.loads(before)["forms"]
    assert (kept["form"]["batch"], kept["asked"]["batch"]) == (50, 100)
    done = gambeson(*words)
    assert done.status == 0, done.err
    assert (run / "forms.json").read_bytes() == before
    assert len(Run.open(run).evaluations("certified")) == 1


def test_memory_that_runs_out_before_anything_is_counted_halves_the_form_too(gambeson, run, clock, memory_for) -> None:
    """In the very last call of all: the images are judged together, and none is finished."""
    clock("float32")
    words = ("certify", run, *WORDS, "--draws", 2_000, "--budget", "fixed")
    assert gambeson(*words).status == 0
    forget(run)
    calls = memory_for(10_000)
    assert gambeson(*words).status == 0
    forget(run)
    memory_for(60, first=next(calls) - 1)
    done = gambeson(*words)
    assert done.status == 0, done.err
    assert "with 50 images a call from now on" in done.err
    (kept,) = json.loads((run / "forms.json").read_text())["forms"]
    (evaluation,) = Run.open(run).evaluations("certified")  # what was begun with more rows is gone
    assert evaluation["settings"]["form"] == kept["form"]
    assert kept["form"]["batch"] == 50


def test_rows_that_are_not_to_blame_are_kept(gambeson, run, clock, memory_for) -> None:
    """Not even one fits."""
    clock("float32")
    assert gambeson("certify", run, *WORDS).status == 0
    forget(run)
    before = (run / "forms.json").read_bytes()
    memory_for(0)
    done = gambeson("certify", run, *WORDS)
    assert (done.status, "with 1 images a call" in done.err) == (1, True), done.err
    assert (run / "forms.json").read_bytes() == before
    assert not Run.open(run).evaluations("certified")


def test_a_form_in_which_something_is_counted_is_not_halved(gambeson, run, memory_for) -> None:
    words = ("--noise", "gaussian:0.25", *FORM, "--budget", "fixed", "--draws", 4_000, "--limit", 1)
    assert stop(run, words, signal.SIGKILL) == KILLED
    before = (run / "forms.json").read_bytes()
    memory_for(60)
    done = gambeson("certify", run, *words)
    assert (done.status, "what is recorded is kept: free memory" in done.err) == (1, True), done.err
    assert (run / "forms.json").read_bytes() == before


def test_a_form_that_has_records_is_not_halved(gambeson, run, clock, memory_for) -> None:
    clock("float32")
    assert gambeson("certify", run, *WORDS).status == 0
    before = (run / "forms.json").read_bytes()
    memory_for(60)
    done = gambeson("certify", run, *WORDS, "--seed", 1)
    assert (done.status, done.err.count("\n")) == (1, 1), done.err
    assert "can't allocate memory" in done.err
    assert "what is recorded is kept: free memory and give the same command again, or" in done.err
    assert (run / "forms.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--smoothing", "sotf"), "smoothing is 'sotf'"),
        (("--rule", "pocock"), "rule is 'pocock'"),
        (("--radii", "0.5,0.25"), "must increase"),
        (("--radii", "0,1"), "out of reach"),
        (("--table-error", "2"), "table error is 2"),
        (("--smoothing", "soft", "--draws", 11), "give draws >= 12"),
        (("--noise", "splitting:0.5,gaussian:0.25", "--radii", "0,0.1"), "leave radii out"),
        (("--noise", "splitting:0.5,gaussian:0.25", "--price", 1e6), "leave price out"),
    ],
    ids=str,
)
def test_what_cannot_be_certified_is_refused_before_a_form_is_looked_for(
    gambeson, run, monkeypatch, options, words
) -> None:
    looked = []
    monkeypatch.setattr(forms, "choose", lambda *arguments, **options: looked.append(arguments))
    done = gambeson("certify", run, "--noise", "gaussian:0.25", "--limit", 2, *options)
    assert (done.status, words in done.err, looked) == (2, True, []), done.err


@pytest.mark.parametrize(
    ("noise", "options", "ahead"),
    [
        ("splitting:0.75", (), 4 * 24),  # of 16 levels
        ("gaussian:0.25", ("--draws", 8_000), 4 * 1_000),
        ("gaussian:0.25,splitting:0.75", ("--draws", 800), 4 * (100 + 24)),
        ("gaussian:0.25", ("--draws", 500, "--budget", "fixed"), 4 * 500),
    ],
)
def test_the_form_is_looked_for_with_the_draws_that_are_ahead(
    gambeson, run, monkeypatch, noise, options, ahead
) -> None:
    told = []
    monkeypatch.setattr(forms, "choose", lambda *a, draws, **o: told.append(draws) or trial.choose(*a, draws=1, **o))
    done = gambeson("certify", run, "--noise", noise, "--limit", 4, *options)
    assert (done.status, told) == (0, [ahead]), done.err


@pytest.fixture
def kept(gambeson, run, recwarn):
    """A function that says in which form the vote of a certified run is served, and what is said about it."""
    words = ("--noise", "gaussian:0.25", "--draws", 200, "--select-draws", 20, "--limit", 2, "--batch")
    assert gambeson("certify", run, *words, 100).status == 0

    def found(**changed: object):
        (path,) = (run / "evaluations").glob("certified-*.json")
        evaluation = json.loads(path.read_text())
        evaluation["machine"] |= changed.pop("machine", {})
        evaluation["settings"] |= changed
        path.write_text(json.dumps(evaluation))
        known = certified_as(Run.open(run), "gaussian:0.25", "hard", None)
        return known and (known[0].batch, known[1]), [str(warning.message) for warning in recwarn.list]

    return found


def test_the_vote_is_served_as_it_was_certified(kept) -> None:
    assert kept() == ((100, "alike"), [])
    assert kept(positions="mixture") == ((100, "mixture"), [])


def test_an_evaluation_that_is_not_finished_is_not_served_where_another_is(gambeson, run, kept) -> None:
    words = ("--noise", "gaussian:0.25", "--draws", 200, "--select-draws", 20, "--limit", 2, "--batch", 50)
    time.sleep(1.1)  # evaluations are told apart by the second
    assert gambeson("certify", run, *words).status == 0
    lines = (run / "records.jsonl").read_text().splitlines(keepends=True)
    for left, batch in ((2, 50), (1, 100), (0, 100)):  # records of the second
        (run / "records.jsonl").write_text("".join(lines[: len(lines) - 2 + left]))
        assert certified_as(Run.open(run), "gaussian:0.25", "hard", None)[0].batch == batch


@pytest.mark.parametrize("part", ["gambeson", "torch", "unit", "processor"])
def test_another_machine_than_the_certified_one_is_named(kept, part) -> None:
    found, (said,) = kept(machine={part: "another"})
    assert found == (100, "alike")
    assert f"was certified with {part} another (now " in said


def test_nothing_is_said_of_what_logits_do_not_depend_on_or_older_evaluations_do_not_name(kept) -> None:
    assert kept(machine={"numpy": "another", "scipy": "another", "processor": None}) == ((100, "alike"), [])


def test_the_form_of_mean_scores_is_not_the_votes(kept) -> None:
    found, (said,) = kept(smoothing="soft", score_bins={"octaves": 10, "steps": 8})
    assert found is None
    assert "answers are by the vote, which was not certified with gaussian:0.25 (the mean score was)" in said
