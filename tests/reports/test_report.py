"""The whole report: figures, tables, captions and summary.json say the same, and nothing more than the records."""

import csv
import html.parser
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from fake_runs import CLASSES, fake_run, images, write_log

from gambeson.reports import report
from gambeson.reports.charts import Chart, caption
from gambeson.reports.read import read
from gambeson.reports.report import SECTIONS

CHECKS = [
    {
        "check": "steps",
        "verdict": "pass",
        "value": 0.0,
        "threshold": 0.01,
        "meaning": "Ok.",
        "next_step": "None needed.",
    },
    {"check": "box", "verdict": "doubt", "value": 0.2, "threshold": 0.1, "meaning": "Hm.", "next_step": "Look."},
]
ATTACKS = [("l2", "base"), ("l2", "smoothed"), ("linf", "base")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    paths = [
        fake_run(root / "plain", method="plain", quality=1.0, attacks=ATTACKS),
        fake_run(root / "noisy", method="noisy", attacks=ATTACKS, seed=1),
        fake_run(root / "stability", quality=2.6, attacks=ATTACKS, seed=2, checks=CHECKS),
    ]
    index, _, label, _ = images(40)
    rows = [(i, y, y, 0.4, 1) if i % 60 else (i, y, -1, 0.0, 0) for i, y in zip(index, label, strict=True)]
    paths.append(write_log(root / "theirs.tsv", rows))
    out = root / "out"
    assert report(paths, out) == out / "index.html"
    return paths, out


def exhibits(paths):
    sources = read(paths)
    return [exhibit for build in SECTIONS if (section := build(sources)) for exhibit in section.exhibits]


def test_every_section_is_there(made):
    page = (made[1] / "index.html").read_text()
    for name in (
        *("overview", "certified", "reductions", "two-by-two", "attacked", "gallery", "pairs", "checks", "cost"),
        *("bounds", "published", "reading", "provenance"),
    ):
        assert f'<section id="{name}"' in page


def test_every_exhibit_has_its_three_tables_and_every_figure_its_three_files(made):
    paths, out = made
    shown = exhibits(paths)
    assert {path.stem for path in (out / "figures").iterdir()} == {e.stem for e in shown if e.drawn is not None}
    for exhibit in shown:
        for ending in ("csv", "md", "tex"):
            assert (out / "tables" / f"{exhibit.stem}.{ending}").stat().st_size > 0
        if exhibit.drawn is not None:
            for ending in ("svg", "png", "pdf"):
                assert (out / "figures" / f"{exhibit.stem}.{ending}").stat().st_size > 0


def test_a_line_and_its_row_hold_the_same_numbers(made):
    """Row i of a chart's CSV is line i of the chart, at every radius or eps of the header."""
    compared = 0
    for exhibit in exhibits(made[0]):
        if not isinstance(exhibit.drawn, Chart) or exhibit.drawn.lines[0].shape == "smooth":
            continue
        rows = list(csv.reader((made[1] / "tables" / f"{exhibit.stem}.csv").open()))
        columns = [(place, float(match[1])) for place, name in enumerate(rows[0])
                   if (match := re.fullmatch(r"accuracy, \w+ (?:eps )?([\d.]+)", name))]  # fmt: skip
        assert len(rows) - 1 == len(exhibit.drawn.lines)
        for row, line in zip(rows[1:], exhibit.drawn.lines, strict=True):
            for place, x in columns:
                if line.shape == "steps":
                    reached = np.flatnonzero(line.x[:-1] >= x)
                    assert float(row[place]) == (line.y[reached[0]] if reached.size else 0.0)
                else:
                    measured = np.flatnonzero(line.x == x)
                    assert row[place] == "" if not measured.size else float(row[place]) == line.y[measured[0]]
                compared += 1
    assert compared > 100


def test_captions_and_legends_name_exactly_what_is_plotted(made):
    for exhibit in exhibits(made[0]):
        if isinstance(exhibit.drawn, Chart):
            names = [drawn.name for drawn in (*exhibit.drawn.lines, *exhibit.drawn.marks)]
            assert len(set(names)) == len(names)
            kinds = r"Lines: (.*?)\.(?: Points: (.*?)\.)?(?: Vertical lines: (.*?)\.)?(?: \d+ images.*)?$"
            listed = re.search(kinds, exhibit.caption)
            assert [part for group in listed.groups() if group for part in group.split("; ")] == names
            drawn = ElementTree.parse(made[1] / "figures" / f"{exhibit.stem}.svg")
            texts = " ".join(element.text or "" for element in drawn.iter() if element.tag.endswith("text"))
            for name in names:
                assert name in texts


def test_a_caption_follows_the_lines():
    chart = Chart("T", "x", "y", lines=[])
    assert caption(chart) == "T."


def test_no_figure_and_no_table_mixes_norms(made):
    for exhibit in exhibits(made[0]):
        if isinstance(exhibit.drawn, Chart):
            words = " ".join([exhibit.drawn.x_label, *(column.header for column in exhibit.table.columns)])
            assert len({norm for norm in ("l1", "l2", "linf") if re.search(rf"\b{norm}\b", words)}) == 1


class Page(html.parser.HTMLParser):
    """Collects ids, links, images and the nesting of the page."""

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.resources, self.images = [], [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if tag == "a" else []
        self.images += [values] if tag == "svg" else []
        target = values.get("src") or values.get("xlink:href") or (values.get("href") if tag == "link" else None)
        self.resources += [target] if target else []


def test_the_page_is_self_contained_and_accessible(made):
    text = (made[1] / "index.html").read_text()
    page = Page()
    page.feed(text)
    assert len(set(page.ids)) == len(page.ids)
    assert all(target.startswith(("#", "data:")) for target in page.resources)
    assert not re.search(r"url\((?!#)", text)
    assert "<script" not in text
    assert "@import" not in text
    for link in page.links:
        assert link[1:] in page.ids if link.startswith("#") else (made[1] / link).exists()
    assert len(page.images) == len(list((made[1] / "figures").glob("*.svg")))
    assert all(image["role"] == "img" and len(image["aria-label"]) > 40 for image in page.images)
    assert text.count("<table>") == text.count("<caption>") == text.count("<thead>")


def test_names_are_escaped(tmp_path):
    run = fake_run(tmp_path / "a<b>&c", examples=3)
    text = report([run], tmp_path / "out").read_text()
    assert "a<b>" not in text
    assert "a&lt;b&gt;&amp;c" in text


def test_nothing_of_an_earlier_report_is_left(tmp_path):
    for name in ("before", "now"):
        report([fake_run(tmp_path / name, examples=3)], tmp_path / "out")
    files = {path.name for path in (tmp_path / "out").rglob("*.*")}
    report([tmp_path / "now"], tmp_path / "alone")
    assert files == {path.name for path in (tmp_path / "alone").rglob("*.*")}


def test_the_same_records_give_the_same_bytes(made, tmp_path):
    report(made[0], tmp_path / "again")
    for path in sorted(made[1].rglob("*")):
        if path.is_file():
            assert (tmp_path / "again" / path.relative_to(made[1])).read_bytes() == path.read_bytes(), path.name


def test_summary_holds_the_fields_of_the_design(made):
    summary = json.loads((made[1] / "summary.json").read_text())
    assert summary["schema"] == 1
    runs = {run["name"]: run for run in summary["runs"]}
    assert list(runs) == ["plain", "noisy", "stability", "theirs"]
    run = runs["stability"]
    assert {"method", "dataset", "examples", "clean_accuracy", "certified", "attacked", "checks", "cost"} < set(run)
    assert (run["method"], run["dataset"], run["examples"]) == ("stability", "mnist", 40)
    tight = run["certified"][0]
    assert (tight["certificate"], tight["noise"]) == ("gaussian_l2", "gaussian:0.5")
    assert (tight["norm"], tight["alpha"]) == ("l2", 1e-3)
    assert tight["radius_kind"] == "full"
    assert [point["radius"] for point in tight["curve"]] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.58]
    names = ("check", "verdict", "value", "threshold")
    assert run["checks"] == [{name: check[name] for name in names} for check in CHECKS]
    assert run["cost"]["ratio_to_plain"] == 1.93
    for attacked in run["attacked"]:
        assert attacked["accuracy"] == attacked["correct"]
        assert attacked["correct"] + attacked["wrong"] + attacked["abstained"] == pytest.approx(1)
        assert attacked["settings"]["steps"] == 20
    theirs = runs["theirs"]
    assert (theirs["method"], theirs["dataset"], theirs["clean_accuracy"], theirs["cost"]) == (None, None, None, None)
    assert (theirs["certified"][0]["certificate"], theirs["certified"][0]["alpha"]) == (None, None)
    assert theirs["certified"][0]["curve"][1] == {"radius": 0.25, "accuracy": 26 / 40}
    assert theirs["certified"][0]["abstained"] == 14 / 40


def test_summary_equals_the_records(made):
    run = made[0][2]
    lines = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["evaluation"].startswith("certified")]
    summary = json.loads((made[1] / "summary.json").read_text())["runs"][2]
    for series in summary["certified"]:
        for point in series["curve"]:
            held = [r["predict"] == r["label"] and r["radii"][series["certificate"]] >= point["radius"] for r in lines]
            assert point["accuracy"] == sum(held) / len(lines)
        radii = [r["radii"][series["certificate"]] if r["predict"] == r["label"] else 0.0 for r in lines]
        assert series["average_radius"] == pytest.approx(sum(radii) / len(lines), abs=1e-12)
        assert series["abstained"] == sum(r["predict"] == -1 for r in lines) / len(lines)


def test_curves_under_attack_start_at_the_natural_accuracy(made):
    summary = json.loads((made[1] / "summary.json").read_text())["runs"][0]
    rows = list(csv.DictReader((made[1] / "tables" / "attacked-mnist-linf.csv").open()))
    assert float(rows[0]["accuracy, linf eps 0"]) == summary["clean_accuracy"]


def test_attack_cards_hold_every_setting(made):
    rows = dict(row[:2] for row in csv.reader((made[1] / "tables" / "attack-cards.csv").open()))
    settings = json.loads((made[1] / "summary.json").read_text())["runs"][0]["attacked"][0]["settings"]
    assert set(settings) - {"step_size"} <= set(rows)
    assert rows["step_size / eps"] == "0.1"
    assert rows["which images"] == "every 20th test image"


def test_a_log_alone(tmp_path):
    path = write_log(tmp_path / "alone.tsv", [(i, i % CLASSES, i % CLASSES, 0.1 * i, 1) for i in range(9)])
    page = report([path], tmp_path / "out").read_text()
    assert "bound not stated" in page
    assert '<section id="attacked"' not in page
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())["runs"][0]
    assert [point["accuracy"] for point in summary["certified"][0]["curve"]] == [1.0, 6 / 9, 4 / 9, 1 / 9]


def test_an_l1_run_has_figures_of_its_own(tmp_path):
    run = fake_run(tmp_path / "both", noises=("gaussian:0.5", "laplace:0.5"), examples=10)
    report([run], tmp_path / "out")
    stems = {path.stem for path in (tmp_path / "out" / "figures").glob("*.svg")}
    assert {"certified-mnist-l2", "certified-mnist-l1", "bound-against-p-l1", "bound-against-p-l2"} <= stems
