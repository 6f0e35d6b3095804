"""certify --table-error, end to end: ranges, going on after a kill, verify, report."""

import csv
import json
import re
import shutil
import signal
from pathlib import Path

import pytest
from stopping import FORM, KILLED, finish, records, stop

from gambeson.records import Run

WORDS = (
    *("--noise", "gaussian:0.5", "--radii", "0,0.25,0.5", "--table-error", 0.05, "--draws", 5_000),
    *("--select-draws", 50, "--limit", 40, *FORM),
)


@pytest.fixture(scope="session")
def _done_once(gambeson, _trained_once: Path, tmp_path_factory):
    run = Path(shutil.copytree(_trained_once, tmp_path_factory.mktemp("table") / "run"))
    outcome = gambeson("certify", run, *WORDS)
    assert outcome.status == 0, outcome.err
    return run, outcome


@pytest.fixture
def done(_done_once, run: Path):
    """What the command said, and its records in `run`."""
    once, outcome = _done_once
    shutil.copytree(once, run, dirs_exist_ok=True)
    return outcome


def certificates(run: Path) -> list[dict]:
    return [record for record in records(run) if record["evaluation"].startswith("certified")]


def test_each_radius_is_told_as_a_range(done, run: Path) -> None:
    found = certificates(run)
    (line,) = re.findall(r"gaussian:0.5 gaussian_l2, certified accuracy at radius  (.*)", done.out)
    ranges = re.findall(r"([\d.]+): ([\d.]+) to ([\d.]+)", line)
    assert [radius for radius, _, _ in ranges] == ["0", "0.25", "0.5"]
    for radius, low, high in ((float(word) for word in words) for words in ranges):
        certified = sum(r["correct"] and r["radii"]["gaussian_l2"] >= radius for r in found) / 40
        assert low == pytest.approx(certified, abs=0.001)
        assert high == pytest.approx(certified + sum(radius in r["undecided"] for r in found) / 40, abs=0.001)
        assert high - low <= 0.051
    assert "the ranges are about these 40 images; the 95 % interval" in done.out


def test_cells_that_stay_wider_than_asked_are_told(done, gambeson, run: Path) -> None:
    assert "cells are wider than" not in done.out
    words = list(WORDS)
    words[words.index("--table-error") + 1], words[words.index("--draws") + 1] = 0, 300
    outcome = gambeson("certify", run, *words)
    opened = Run.open(run)
    about = opened.records(opened.evaluations("certified")[-1]["id"])
    undecided = [sum(radius in record["undecided"] for record in about) for radius in (0, 0.25, 0.5)]
    wide = sum(count > 0 for count in undecided)
    assert wide > 0
    assert f"{wide} of 3 cells are wider than 0, up to {max(undecided) / 40:.3f}: " in outcome.out


def test_rounds_are_shown_while_no_record_can_come(gambeson, run: Path, monkeypatch) -> None:
    monkeypatch.setattr("gambeson.cli.progress.EVERY", 0.001)
    told = gambeson("certify", run, *WORDS).err
    standing = r"certified at 0\.25: [01]\.\d{3}, error [01]\.\d{3}$"
    rate = r"(?:([\d,]+) draws/s, (?:about [\d:]+ left, )?)?"
    shown = re.findall(rf"0/40, {rate}round (\d+): (\d+) images, {standing}", told, re.MULTILINE)
    assert len(shown) > 2
    numbers = [int(number) for _, number, _ in shown]
    assert numbers == sorted(numbers)
    assert all(0 < int(images) <= 40 for _, _, images in shown)
    assert all(int(rate.replace(",", "")) > 0 for rate, _, _ in shown[1:])


@pytest.mark.parametrize("engine", ["here", pytest.param("local", marks=pytest.mark.long)])
def test_killed_and_gone_on_with_it_is_the_same_table(run: Path, engine: str) -> None:
    words = (*WORDS[: WORDS.index("--draws")], "--draws", 2_000, "--select-draws", 50, "--limit", 12, *FORM)
    whole = Path(shutil.copytree(run, run.parent / "whole"))
    finish(whole, words, slice_seconds=1000.0)
    for seconds in (0.0, 0.05, 0.1):
        assert stop(run, words, signal.SIGKILL, seconds=seconds, engine=engine) == KILLED
    finish(run, words, engine=engine)
    assert records(run) == records(whole)


def test_a_finished_table_is_told_again_at_once(done, gambeson, run: Path) -> None:
    before = (run / "records.jsonl").read_bytes()
    again = gambeson("certify", run, *WORDS)
    assert (again.status, again.out) == (0, done.out)
    assert (run / "records.jsonl").read_bytes() == before


def test_it_is_verified_and_a_forged_range_is_noticed(done, gambeson, run: Path) -> None:
    honest = gambeson("verify", run, "--images", 10, "--draws", 500, "--seed", 5)
    assert honest.status == 0, honest.err
    lines = (run / "records.jsonl").read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if json.loads(line).get("undecided"))
    lines[place] = re.sub(r'"undecided":\[[^]]+\]', '"undecided":[]', lines[place])
    (run / "records.jsonl").write_text("\n".join(lines) + "\n")
    forged = gambeson("verify", run, "--images", 10, "--draws", 500, "--seed", 5)
    assert forged.status == 1
    assert "undecided is [], its counts give [0" in forged.err


def test_report_and_summary_hold_the_ranges(done, gambeson, run: Path, tmp_path: Path) -> None:
    assert gambeson("report", run, "--out", tmp_path / "report").status == 0
    found, (settings,) = certificates(run), Run.open(run).evaluations("certified")
    rows = list(csv.DictReader((tmp_path / "report" / "tables" / "cells-digits-l2.csv").read_text().splitlines()))
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())["runs"][0]["certified"]
    tight = next(one for one in summary if one["certificate"] == "gaussian_l2")
    assert tight["table_error"] == settings["settings"]["budget"]["table_error"] == 0.05
    assert all(one["cells"] is None for one in summary if one is not tight)
    assert [float(row["l2 radius"]) for row in rows] == [cell["radius"] for cell in tight["cells"]] == [0, 0.25, 0.5]
    for row, cell in zip(rows, tight["cells"], strict=True):
        low = sum(r["correct"] and r["radii"]["gaussian_l2"] >= cell["radius"] for r in found) / 40
        high = low + sum(cell["radius"] in r["undecided"] for r in found) / 40
        assert float(row["certified accuracy, at least"]) == cell["certified"] == pytest.approx(low)
        assert float(row["certified or undecided, at most"]) == cell["certified_or_undecided"] == pytest.approx(high)
    assert any(cell["certified_or_undecided"] > cell["certified"] for cell in tight["cells"])
