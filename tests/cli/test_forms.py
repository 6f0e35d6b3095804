"""The inference form of a run is found once and kept, whatever the clock says later."""

import json

import pytest

from gambeson.inference import Served, trial
from gambeson.records import Run

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
    assert {"torch", "numpy", "unit"} <= kept["machine"].keys()
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


def test_attacks_on_the_smoothed_classifier_meet_the_form_that_was_certified(gambeson, run, clock) -> None:
    clock("bfloat16")
    assert gambeson("certify", run, *WORDS).status == 0
    clock("float32")
    words = ("--eps", "0.1", "--norm", "l2", "--noise", "gaussian:0.25", "--steps", 2, "--predict-draws", 100)
    assert gambeson("attack", run, *words, "--limit", 4).status == 0
    (attacked,) = Run.open(run).evaluations("attacked")
    assert attacked["settings"]["form"] == Run.open(run).evaluations("certified")[0]["settings"]["form"]
