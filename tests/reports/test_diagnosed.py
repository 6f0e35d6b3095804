"""The curves and the table of a diagnosis hold what was recorded."""

import pytest
from fake_runs import fake_run

from gambeson.records import Run
from gambeson.reports import report
from gambeson.reports.read import read
from gambeson.reports.sections.diagnosed import diagnosed

BUDGET = {
    "steps": 1000, "restarts": 20, "restart_steps": 50, "eps_steps": 20, "climb_steps": 100, "queries": 1000,
    "samples": 128, "transfer_steps": 100, "noise_draws": 10_000, "directions": 100, "radius": 4 / 255,
    "linearity_restarts": 5, "linearity_steps": 50,
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    path = fake_run(tmp_path / "run", attacks=[("linf", "base")], examples=40)
    opened = Run.open(path)
    settings = {
        "target": "base", "norm": "linf", "eps": 0.1, "multiples": [0.25, 0.5, 1.0, 2.0], "budget": BUDGET,
        "source": None, "batch": 50, "noise": None, "attack_draws": None, "predict_draws": None,
        "predict_alpha": None, "seed": 0, "form": None,
    }  # fmt: skip
    data = {"dataset": "mnist", "split": "test", "rule": "every 20th test image", "levels": 16, "fingerprint": "f"}
    clean = opened.records(opened.evaluations("clean")[0]["id"])
    with opened.writing() as writer:
        writing = writer.evaluation(
            "diagnosed", settings, data, len(clean), "gambeson check RUN", "2026-01-01T00:00:00Z"
        )
        for row, record in enumerate(clean):
            same = {name: record[name] for name in ("index", "hash", "label", "seconds", "predict", "correct")}
            fell = row % 4
            writing.append(same | {
                "one_step": fell == 0, "after_steps": [0, 7, 700, None][fell], "after_restarts": [0, 1, 3, None][fell],
                "by_eps": [False, False, True, True], "black_box": None, "random_noise": False, "unavailable": False,
                "unstable": 0.0, "silent": False, "incomplete": 0.0, "unlimited": False, "fooled": fell < 3,
                "fooled_again": fell < 3, "fooled_rounded": fell < 3, "gamma": float(row), "loss": 0.5,
            })  # fmt: skip
    return path


def test_curves_count_who_holds_out(run):
    section = diagnosed(read([run]))
    assert section is not None
    steps, restarts, linear = section.exhibits
    shares = {column.header: cell for column, cell in zip(steps.table.columns, steps.table.rows[0], strict=True)}
    assert shares["accuracy, 1 step"].count == 30
    assert shares["accuracy, 5 steps"].count == 30
    assert shares["accuracy, 10 steps"].count == 20
    assert shares["accuracy, 1000 steps"].count == 10
    shares = {column.header: cell for column, cell in zip(restarts.table.columns, restarts.table.rows[0], strict=True)}
    assert [shares[f"accuracy, {count} restart{'s' * (count > 1)}"].count for count in (1, 2, 5, 20)] == [
        20,
        20,
        10,
        10,
    ]
    told = {column.header: cell for column, cell in zip(linear.table.columns, linear.table.rows[0], strict=True)}
    assert (told["gamma, mean"], told["gamma, median"]) == (19.5, 19.5)
    assert told["gamma, 95 %"] == pytest.approx(37.05)
    assert told["accuracy under these attacks"].count == 10


def test_the_page_has_them(run, tmp_path):
    page = report([run], tmp_path / "report").read_text()
    assert "Have attacks converged" in page
    for stem in ("converged-steps-mnist-linf", "converged-restarts-mnist-linf"):
        assert (tmp_path / "report" / "figures" / f"{stem}.png").exists()
    assert (tmp_path / "report" / "tables" / "linearity-mnist-linf.csv").exists()


def test_without_a_diagnosis_there_is_no_section(tmp_path):
    assert diagnosed(read([fake_run(tmp_path / "run")])) is None
