"""Tables by reduction against the records, in fractions; what is not known makes no table."""

import csv
import json
from dataclasses import replace
from fractions import Fraction

import pytest
from fake_runs import fake_run, write_log

from gambeson.reports.read import read
from gambeson.reports.report import report
from gambeson.reports.sections.reductions import reductions
from gambeson.reports.summary import summary
from gambeson.reports.writers import to_csv

VALUES, LEVELS = 64, 16  # of the made-up images


def table(exhibit):
    return list(csv.DictReader(to_csv(exhibit.table).splitlines()))


def l2(run):
    """The run, and the series of its certificate in l2."""
    (source,) = read([run])
    return source, next(series for series in source.certified if series.certificate == "gaussian_l2")


def length(norm, size, of):
    """The longest perturbation of that linf size or number of pixels: its p-th power in l2 (p = 2) or l1 (p = 1)."""
    p = 1 if of == "l1" else 2
    return VALUES * Fraction(size, LEVELS) ** p if norm == "linf" else Fraction(size)


def certified(path, certificate, norm, size):
    """The share of records that are right and whose radius exceeds every perturbation of that size."""
    lines = [json.loads(line) for line in (path / "records.jsonl").read_text().splitlines()]
    lines = [line for line in lines if certificate in line.get("radii", {})]
    p = 1 if certificate.endswith("l1") else 2
    longest = length(norm, size, certificate[-2:])
    held = [r["correct"] and Fraction(r["radii"][certificate]) ** p > longest for r in lines]
    return sum(held) / len(lines)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("reductions") / "run"
    return fake_run(path, noises=("gaussian:1", "laplace:2"), quality=3.0, draws=10_000)


@pytest.mark.parametrize(("certificate", "reached"), [("gaussian_l2", {"linf", "l0"}), ("laplace_l1", {"l0"})])
def test_every_cell_follows_from_the_records(run, certificate, reached):
    compared = []
    for exhibit in reductions(read([run])).exhibits:
        norm = exhibit.stem.rpartition("-")[2]
        label = f"{norm} by reduction from {certificate[-2:]} ({certificate})"
        (row,) = [row for row in table(exhibit) if row["certified"] == label]
        for name, value in row.items():
            if name.startswith("accuracy, ") and "interval" not in name:
                size = int(name.removeprefix("accuracy, ").removeprefix("linf ").partition("/")[0].split()[0])
                assert float(value) == certified(run, certificate, norm, size), name
                compared.append((norm, size, float(value)))
    assert {norm for norm, _, value in compared if 0 < value < 1} == reached


def test_columns_are_whole_levels_and_cover_the_customary_radius(run):
    linf, l0 = reductions(read([run])).exhibits
    names = [column.header for column in linf.table.columns if column.header.startswith("accuracy")]
    assert names[:2] == ["accuracy, linf 1/16", "accuracy, linf 2/16"]
    assert 2 / 16 >= 0.1 > 1 / 16
    assert "accuracy, 1 pixel" in [column.header for column in l0.table.columns]


def test_a_perturbation_as_long_as_the_radius_is_not_covered(run):
    """R = 2 in l2: 4 pixels are exactly 2 long, and so are 64 values of 4/16."""
    source, head = l2(run)
    images = replace(head.images, predict=head.images.label, correct=head.images.label >= 0)
    for radius, expected in ((2.0, 0.0), (2.000001, 1.0)):
        series = replace(head, radius=head.radius * 0 + radius, images=images)
        linf, l0 = reductions([replace(source, certified=(series,))]).exhibits
        for exhibit, name in ((linf, "linf 4/16"), (l0, "4 pixels")):
            assert float(table(exhibit)[0].get(f"accuracy, {name}", 0)) == expected
        assert float(table(l0)[0]["accuracy, 3 pixels"]) == 1.0


def test_float_images_have_the_radii_against_real_valued_adversaries(run):
    source, head = l2(run)
    head = replace(head, levels=None, radius_real=head.radius * 0)
    for exhibit in reductions([replace(source, certified=(head,))]).exhibits:
        (first,) = [name for name in table(exhibit)[0] if name.startswith("accuracy") and "interval" not in name]
        assert first in ("accuracy, linf 1/255", "accuracy, 1 pixel")
        assert float(table(exhibit)[0][first]) == 0


def test_radii_of_a_grid_say_so(run):
    source, head = l2(run)
    grid = replace(source, certified=(replace(head, grid=(0.25, 0.5)),))
    assert {table(exhibit)[0]["radii"] for exhibit in reductions([grid]).exhibits} == {"of a grid"}
    assert {one.radius_kind for one in summary([grid]).runs[0].reductions} == {"grid"}


def test_a_log_has_none(tmp_path):
    log = write_log(tmp_path / "theirs.tsv", [(0, 1, 1, 0.9, 1)])
    assert reductions(read([log])) is None
    assert summary(read([log])).runs[0].reductions == []


def test_the_page_and_summary_hold_them(run, tmp_path):
    page = report([run], tmp_path / "out").read_text()
    assert '<section id="reductions"' in page
    assert "l0 by reduction from l1 (laplace_l1)" in page
    found = json.loads((tmp_path / "out" / "summary.json").read_text())["runs"][0]["reductions"]
    pairs = {(one["norm"], one["certificate"]) for one in found}
    assert len(found) == len(pairs) == 4
    assert pairs == {(norm, name) for norm in ("linf", "l0") for name in ("gaussian_l2", "laplace_l1")}
    for one in found:
        assert one["label"].startswith(f"{one['norm']} by reduction from {one['certificate_norm']}")
        assert (one["alpha"], one["radius_kind"]) == (0.001, "full")
        for point in one["curve"]:
            size = round(point["radius"] * (LEVELS if one["norm"] == "linf" else 1))
            assert point["accuracy"] == certified(run, one["certificate"], one["norm"], size)
            assert point["radius"] <= one["max_radius"]
