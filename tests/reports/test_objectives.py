"""Attacks that differ in what they climb stand side by side, and no others."""

from typing import Any

import pytest
from fake_runs import fake_run

from gambeson.records import Run
from gambeson.reports import report
from gambeson.reports.read import read
from gambeson.reports.sections.objectives import objectives

WAYS: list[dict[str, Any]] = [
    {"attack_draws": 4}, {"attack_draws": 64}, {"attack_draws": 4, "redraw": True},
    {"attack_draws": 4, "order": "mean_of_log", "loss": "log_probability"}, {"attack_draws": 4, "gradient": "stein"},
]  # fmt: skip


@pytest.fixture
def run(tmp_path):
    path = fake_run(tmp_path / "run", attacks=[("l2", "smoothed")], examples=20)
    opened = Run.open(path)
    first = next(e for e in opened.evaluations("attacked") if e["settings"]["eps"] > 0)
    records = opened.records(first["id"])
    with opened.writing() as writer:
        for place, way in enumerate(WAYS):
            settings = {**first["settings"], "seed": 7, **way}
            writing = writer.evaluation(
                "attacked", settings, first["data"], len(records), "gambeson attack RUN", "2026-01-01T00:00:00Z"
            )
            for row, record in enumerate(records):
                fell = row <= place
                answer = {"predict": -1 if fell else record["label"], "correct": not fell, "success": row % 2 == 0}
                writing.append({name: value for name, value in record.items() if name != "evaluation"} | answer)
    return path


def test_every_way_is_a_row_and_every_variant_a_line(run):
    section = objectives(read([run]))
    assert section is not None
    [exhibit] = section.exhibits
    assert [line.name for line in exhibit.drawn.lines] == [
        "log of the mean, new draws", "log of the mean, the same draws",
        "log of the mean, the same draws, Stein's estimator", "mean of the log, the same draws",
    ]  # fmt: skip
    assert [round(2**x) for x in exhibit.drawn.lines[1].x] == [4, 64]
    headers = [column.header for column in exhibit.table.columns]
    told = [dict(zip(headers, row, strict=True)) for row in exhibit.table.rows]
    assert len(told) == len(WAYS)
    found = {(row["objective, draws and gradient"], row["draws inside the attack"]): row for row in told}
    row = found["log of the mean, the same draws", 64]
    assert (row["correct"].count, row["wrong"].count, row["abstained"].count) == (18, 0, 2)
    assert row["fools its own draws"].count == 10


def test_the_page_has_them(run, tmp_path):
    assert "What attacks on smoothed classifiers climb" in report([run], tmp_path / "report").read_text()


def test_one_way_is_no_comparison(tmp_path):
    assert objectives(read([fake_run(tmp_path / "run", attacks=[("l2", "smoothed")])])) is None
