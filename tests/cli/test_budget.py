"""Which budget a certification gets, and what it says before and while it runs."""

import re

import pytest
import torch

from gambeson.cli.budget import choose_budget, choose_draws
from gambeson.cli.estimate import in_words
from gambeson.cli.workers import engine_for, others, processes
from gambeson.engines import Batch
from gambeson.errors import UserError
from gambeson.evaluation import pilot
from gambeson.evaluation.pilot import Estimate
from gambeson.inference import trial
from gambeson.records import Run

NONE: dict = {"smoothing": "hard", "stop_wrong": False}
NONE |= dict.fromkeys(("budget", "radii", "price", "rule", "table_error"))


@pytest.mark.parametrize(
    ("dataset", "options", "told"),
    [
        ("mnist", {}, {"radii": "customary", "stop_wrong": False}),
        ("folder:photos", {}, {}),
        ("mnist", {"budget": "fixed"}, {}),
        ("mnist", {"smoothing": "soft"}, {}),
        ("mnist", {"table_error": 0.01}, {"radii": "customary", "stop_wrong": False, "table_error": 0.01}),
        ("folder:photos", {"radii": "0,1/4"}, {"radii": [0.0, 0.25], "stop_wrong": False}),
        ("cifar10", {"price": 1e5, "stop_wrong": True}, {"radii": "customary", "price": 1e5, "stop_wrong": True}),
        ("digits", {"rule": "beta_mixture"}, {"radii": "customary", "rule": "beta_mixture", "stop_wrong": False}),
    ],
)
def test_a_grid_is_the_default_where_there_is_one(dataset, options, told) -> None:
    assert choose_budget(dataset, **{**NONE, **options}) == told


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("mnist", {"budget": "adaptive"}, "--budget is 'adaptive'; it must be grid or fixed"),
        ("mnist", {"table_error": 0.01, "price": 1e6}, "leave --price and --stop-wrong out"),
        ("mnist", {"budget": "fixed", "radii": "0,1"}, "--radii goes with a grid of radii, not with --budget fixed"),
        ("mnist", {"budget": "fixed", "price": 1e7}, "--price goes with a grid"),
        ("mnist", {"budget": "fixed", "rule": "beta_mixture"}, "--rule goes with a grid"),
        ("mnist", {"budget": "fixed", "stop_wrong": True}, "--stop-wrong goes with a grid"),
        ("folder:photos", {"budget": "grid"}, "folder:photos has no customary radii .*: give --radii"),
        ("folder:photos", {"stop_wrong": True}, "folder:photos has no customary radii"),
    ],
)
def test_what_contradicts_itself_is_refused(dataset, options, message) -> None:
    with pytest.raises(UserError, match=message):
        choose_budget(dataset, **{**NONE, **options})


def test_where_nothing_is_drawn_what_is_about_draws_is_refused() -> None:
    usual = {"draws": 100_000, "select_draws": 100, "alpha": 0.001}
    nothing, few = dict.fromkeys(usual), {**dict.fromkeys(usual), "draws": 500}
    assert choose_draws(["splitting:1"], nothing, {"price": None}) == usual
    assert choose_draws(["splitting:1", "gaussian:1"], few, {"price": 1e6}) == {**usual, "draws": 500}
    for asked, budget, named in (
        (few, {}, "--draws"),
        (nothing, {"budget": "grid", "stop_wrong": True}, "--budget, --stop-wrong"),
    ):
        with pytest.raises(UserError, match=f"noisy copy of splitting:1 is counted.*: leave {named} out"):
            choose_draws(["splitting:1"], asked, budget)


@pytest.mark.parametrize(
    ("estimate", "options", "words"),
    [
        (Estimate(500, 4_130, 20_555), {}, "about 4,100 draws an image (2.1 M in all), 21,000 draws/s: about 1.7 min"),
        (Estimate(10, 100_100, 31), {"adaptive": False}, "100,100 draws an image (1 M in all), 31 draws/s: about 9 h"),
        (Estimate(7, 1_000, 700), {}, "about 1,000 draws an image (7,000 in all), 700 draws/s: about 10 s"),
        (Estimate(1, 10, 99), {}, "about 10 draws an image (10 in all), 99 draws/s: about 1 s"),
        (Estimate(10_000, 21_400, 900), {"processes": 4}, "(210 M in all), 900 draws/s in each of 4 processes: about 17 h"),  # noqa: E501
    ],
)  # fmt: skip
def test_an_estimate_in_words(estimate, options, words) -> None:
    assert in_words(estimate, **options).endswith(words)


def test_there_are_as_many_processes_as_find_a_place_where_the_work_is_worth_it(monkeypatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr(trial, "PROCESSES_FROM", 30.0)
    form, long, short = {"device": "cpu", "threads": 2}, Estimate(100, 1_000, 1_000), Estimate(1, 1_000, 1_000)
    assert [processes("local", None, form, estimate) for estimate in (long, short, None)] == [4, 1, 1]
    assert [processes("local", workers, form, short) for workers in (1, 3, 50)] == [1, 3, 50]
    assert [processes("ray", workers, form, long) for workers in (None, 50)] == [1, 50]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda place: "other" if place == 1 else "first")
    assert processes("local", None, {"device": "cuda", "threads": 4}, long) == 2


def test_more_threads_than_cores_are_remarked(monkeypatch, capsys) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    fits = [
        ({"device": "cpu", "threads": 2}, 4),
        ({"device": "cpu", "threads": 8}, 1),
        ({"device": "cuda", "threads": 4}, 9),
    ]
    for form, workers in fits:
        processes("local", workers, form, None)
    processes("ray", 50, fits[0][0], None)
    assert not capsys.readouterr().err
    processes("local", 5, fits[0][0], None)
    assert "--workers 4 or --threads 1 (another inference form, another certificate)" in capsys.readouterr().err
    processes("local", 9, {"device": "cpu", "threads": 1}, None)
    assert "wait for one another: --workers 8 is likely to be faster" in capsys.readouterr().err


def test_who_shares_the_work_is_known_before_a_form_is_chosen() -> None:
    model = torch.nn.Linear(2, 2)
    asked = [("local", None), ("local", 1), ("local", 2), ("ray", None), ("ray", 1)]
    assert [others(*words, model) for words in asked] == [None, False, True, True, True]
    assert others("local", None, lambda x: x) is False


def test_a_model_that_cannot_be_sent_stays_here_unless_workers_were_asked_for(capsys) -> None:
    form, left = {"device": "cpu", "threads": 1}, [Batch(0, 1), Batch(1, 2)]

    def judge(part: int, over) -> int:
        return 10 * part

    engine = engine_for("local", None, None, form, 2)
    found = [judged.found for judged in engine(judge, lambda workers: left.pop(0) if left else None)]
    assert found == [10, 20]
    assert "one process instead of 2: this evaluation cannot be sent" in capsys.readouterr().err
    with pytest.raises(UserError, match="cannot be sent to other processes"):
        list(engine_for("local", 2, None, form, 2)(judge, lambda workers: None))


def test_a_certification_tells_what_it_will_take_and_what_it_takes(gambeson, run, monkeypatch) -> None:
    monkeypatch.setattr(pilot, "FEW_CALLS", 1)
    monkeypatch.setattr(pilot, "FEW_SECONDS", 0)
    monkeypatch.setattr(pilot, "SECONDS", 1e9)  # as many draws as it may make, however slow the machine
    words = ("certify", run, "--noise", "gaussian:0.25", "--draws", 20_000, "--every", 12, "--threads", 1)
    done = gambeson(*words)
    assert done.status == 0, done.err
    (certified,) = Run.open(run).evaluations("certified")
    assert certified["settings"]["budget"]["radii"] == [0.0, 0.25, 0.5, 0.75]
    records = Run.open(run).records(certified["id"])
    told = re.search(r"certify gaussian:0.25: about ([\d,]+) draws an image .*draws/s: about ", done.err)
    mean = 100 + sum(record["draws"] for record in records) / len(records)
    assert mean / 2 < float(told[1].replace(",", "")) < mean * 2
    middle = sum(record["correct"] and record["radii"]["gaussian_l2"] >= 0.5 for record in records) / len(records)
    whole = f"{len(records)}/{len(records)}"
    assert re.search(rf"{whole}, .* images/s, [\d,]+ draws/s, .* certified at 0.5: {middle:.3f}", done.err)
    again = gambeson(*words)
    assert (again.status, again.out) == (0, done.out)
    assert "draws an image" not in again.err  # nothing is left to be estimated


def test_full_precision_is_a_word_away(gambeson, run) -> None:
    words = ("--noise", "gaussian:0.25", "--draws", 300, "--select-draws", 20, "--limit", 5)
    assert gambeson("certify", run, "--budget", "fixed", *words).status == 0
    (certified,) = Run.open(run).evaluations("certified")
    assert certified["settings"]["budget"] == "fixed"
    assert gambeson("certify", run, "--rule", "beta_mixture", *words).status == 0
    others = [e for e in Run.open(run).evaluations("certified") if e["id"] != certified["id"]]
    rules = {e["settings"]["budget"]["rule"] for e in others}
    assert rules == {"beta_mixture"}
    assert gambeson("verify", run, "--images", 3, "--draws", 300).out.count("stands") == 2
