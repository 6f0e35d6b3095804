"""What is exported is what was recorded."""

import csv
import json
from shutil import copytree

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_runs import fake_run
from safetensors import safe_open
from safetensors.numpy import load_file

from gambeson.errors import UserError
from gambeson.records import Run
from gambeson.reports import export
from gambeson.reports.logs import COLUMNS
from gambeson.reports.read import read
from gambeson.reports.summary import summary

LISTED = ("steps", "step_size", "step_rule", "loss", "restarts", "random_start", "early_stop", "step_rule_settings")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "run"
    return fake_run(path, noises=("gaussian:0.5", "laplace:0.25"), quality=0.9, attacks=[("l2", "base")], examples=30)


def test_tsv_one_file_per_noise_and_certificate_with_the_six_columns_first(run, tmp_path):
    written = export(run, "tsv", tmp_path)
    assert len(written) == 12
    assert tmp_path / "run-gaussian-0.5-gaussian_l2.tsv" in written
    rows = list(csv.reader((tmp_path / "run-gaussian-0.5-gaussian_l2.tsv").open(), delimiter="\t"))
    assert tuple(rows[0][:6]) == COLUMNS
    assert {"certificate", "noise", "alpha", "select_draws", "draws", "top_count", "p_lower", "seed"} <= set(rows[0])
    assert rows[1][5] == "0:00:00.250000"
    abstained = [row for row in rows[1:] if row[2] == "-1"]
    assert abstained
    assert all(row[3] == "0.0" and row[4] == "0" for row in abstained)


def test_export_then_report_gives_the_same_curves(run, tmp_path):
    written = export(run, "tsv", tmp_path / "logs")
    ours = summary(read([run])).model_dump()["runs"][0]["certified"]
    theirs = [run["certified"][0] for run in summary(read(written)).model_dump()["runs"]]
    key = ("noise", "certificate")
    found = {tuple(series[name] for name in key): series for series in theirs}
    assert len(found) == len(ours) == 12
    for series in ours:
        again = found[tuple(series[name] for name in key)]
        assert again["curve"] == series["curve"]
        for name in ("alpha", "max_radius", "norm", "abstained"):
            assert again[name] == series[name]


def test_csv_parquet_and_json_hold_every_record(run, tmp_path):
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    certified = [line for line in lines if line["evaluation"].startswith("certified")]
    rows = list(csv.DictReader(next(p for p in export(run, "csv", tmp_path) if p.stem.endswith("certified")).open()))
    table = pq.read_table(next(p for p in export(run, "parquet", tmp_path) if p.stem.endswith("certified"))).to_pylist()
    assert len(rows) == len(table) == len(certified)
    laplace = [line["radii"]["laplace_l1"] for line in certified if "laplace_l1" in line["radii"]]
    assert [float(row["radius_laplace_l1"]) for row in rows if row["radius_laplace_l1"]] == laplace
    assert [row["radius_laplace_l1"] for row in table if row["radius_laplace_l1"] is not None] == laplace
    rows = list(csv.DictReader(next(p for p in tmp_path.iterdir() if p.name.endswith("attacked.csv")).open()))
    attacked = [line for line in lines if line["evaluation"].startswith("attacked")]
    key = ("evaluation", "index")
    distances = {tuple(str(line[name]) for name in key): line["distances"] for line in attacked}
    for row in rows:
        kept = distances[tuple(row[name] for name in key)]
        assert {norm: float(row[f"distance_{norm}"]) for norm in kept} == kept
    (path,) = export(run, "json", tmp_path)
    assert json.loads(path.read_text())["records"] == lines


def test_mistakes(run, tmp_path):
    with pytest.raises(UserError, match="'xml'; it must be one of tsv, csv, parquet, json"):
        export(run, "xml", tmp_path)
    with pytest.raises(UserError, match="not a run folder"):
        export(tmp_path / "none", "tsv", tmp_path)
    bare = fake_run(tmp_path / "bare", noises=(), examples=2)
    with pytest.raises(UserError, match="holds no certified records"):
        export(bare, "tsv", tmp_path)


def test_adversarial_images_come_with_what_was_recorded_of_them(run, tmp_path):
    written = export(run, "tensors", tmp_path)
    opened = Run.open(run)
    assert len(written) == len(opened.evaluations("attacked")) == 3
    for path, evaluation in zip(written, opened.evaluations("attacked"), strict=True):
        found = load_file(path)
        records = {record["index"]: record for record in opened.records(evaluation["id"])}
        for row, index in enumerate(found["indices"].tolist()):
            record = records[index]
            assert (found["y"][row], found["predict"][row]) == (record["label"], record["predict"])
            assert bool(found["success"][row]) == record["success"]
        kept = load_file(opened.path / "adversarial" / f"{evaluation['id']}.safetensors")
        assert np.array_equal(found["x_adv"], kept["x_adv"])
        with safe_open(path, "numpy") as file:
            assert json.loads(file.metadata()["settings"]) == evaluation["settings"]


STANDARD = [
    {"name": "apgd_ce", "attack": "apgd", "options": {}},
    {"name": "apgd_t", "attack": "multi_targeted", "options": {"loss": "dlr"}},
    {"name": "fab_t", "attack": "multi_targeted", "options": {}},
    {"name": "square", "attack": "square", "options": {"queries": 5_000}},
]


def test_a_leaderboard_gets_the_published_protocol_alone(run, tmp_path):
    with pytest.raises(UserError, match="--preset standard"):
        export(run, "robustbench", tmp_path)
    opened = Run.open(copytree(run, tmp_path / "run"))
    [first, *_] = opened.evaluations("attacked")
    settings = {key: value for key, value in first["settings"].items() if key not in LISTED}
    settings |= {"attack": "standard", "members": STANDARD, "norm": "linf", "eps": 8 / 255}
    records = opened.records(first["id"])
    weaker = {**STANDARD[1], "options": {"loss": "difference"}}
    with opened.writing() as writer:
        for how in (
            {},
            {"share": 0.05},
            {"members": STANDARD[3:]},
            {"members": [*STANDARD[:1], weaker, *STANDARD[2:]]},
        ):
            name = writer.evaluation("attacked", settings | how, first["data"], len(records), "gambeson attack", "now")
            for record in records:
                name.append({key: value for key, value in record.items() if key != "evaluation"} | {"broken_by": None})
    [path] = export(opened.path, "robustbench", tmp_path)
    found = json.loads(path.read_text())
    assert (found["eps"], found["threat_model"], found["dataset"]) == ("8/255", "Linf", "mnist")
    assert found["autoattack_acc"] == f"{100 * sum(record['correct'] for record in records) / len(records):.2f}"
    assert float(found["clean_acc"]) >= float(found["autoattack_acc"])
    assert found["images"] == len(records)
