"""One attack with several losses is one row."""

import pytest
from fake_runs import fake_run

from gambeson.records import Run
from gambeson.reports import report
from gambeson.reports.read import read
from gambeson.reports.sections.losses import losses


@pytest.fixture
def run(tmp_path):
    path = fake_run(tmp_path / "run", attacks=[("linf", "base")], examples=20)
    opened = Run.open(path)
    first = next(e for e in opened.evaluations("attacked") if e["settings"]["eps"] > 0)
    records = opened.records(first["id"])
    with opened.writing() as writer:
        for loss, fell in (("cross_entropy", {0, 1}), ("margin", {1, 2, 3}), ("dlr", {4})):
            settings = {**first["settings"], "seed": 7, "steps": 100, "loss": loss}
            writing = writer.evaluation("attacked", settings, first["data"], len(records), "gambeson attack", "now")
            for row, record in enumerate(records):
                answer = {"correct": row not in fell, "predict": -1 if row in fell else record["label"]}
                writing.append({name: value for name, value in record.items() if name != "evaluation"} | answer)
    return path


def test_losses_stand_side_by_side(run):
    section = losses(read([run]))
    assert section is not None
    [exhibit] = section.exhibits
    [row] = exhibit.table.rows
    told = dict(zip([column.header for column in exhibit.table.columns], row, strict=True))
    shares = [told[f"accuracy, {loss}"].count for loss in ("cross_entropy", "margin", "dlr")]
    assert shares == [18, 17, 19]
    assert told["worst of all"].count == 15
    assert told["strongest to weakest"] == pytest.approx(2 / 20)
    assert told["attack"] == "pgd-100"


def test_the_page_has_them(run, tmp_path):
    assert "What attacks climb" in report([run], tmp_path / "report").read_text()


def test_one_loss_is_no_comparison(tmp_path):
    assert losses(read([fake_run(tmp_path / "run", attacks=[("linf", "base")])])) is None
