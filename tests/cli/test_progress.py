"""Plain lines where there is no terminal: rates, the time left, and an end; on a terminal the same beside a bar."""

import re
import time

import pytest
from processes import wait
from rich.console import Console

from gambeson.cli import progress

ROUND = "round 12: 400 images, certified at 0.75: 0.812, error 0.123"


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""
    now = [0.0]
    monkeypatch.setattr(progress, "perf_counter", lambda: now[0])
    return now


def test_plain_lines_are_told_while_it_runs_and_at_the_end(capsys, monkeypatch, clock) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    with progress.progress("certify", 100, done=40) as tick:
        assert capsys.readouterr().err == ""
        clock[0] = 10.0
        tick(41, "correct 0.5", draws=100)
        tick(50, "correct 0.5", draws=20_000)
        # Its own rate, not that of the 40 that were there before; never twice.
        line, told = "certify: 50/100, 1.0 images/s, 2,000 draws/s, 0:00:50 left, correct 0.5\n", []
        wait(lambda: told.append(capsys.readouterr().err) or "".join(told).endswith(line))
        time.sleep(0.1)
        assert capsys.readouterr().err == ""
        clock[0] = 60.0
        tick(100, "correct 0.5", draws=60_000)
    assert capsys.readouterr().err == "certify: 100/100, 1.0 images/s, 1,000 draws/s, 0:00:00 left, correct 0.5\n"


def test_what_is_done_together_is_one_line(capsys, clock) -> None:
    with progress.progress("clean", 32) as tick:
        clock[0] = 16.0
        for completed in range(1, 33):
            tick(completed)
    assert capsys.readouterr().err == "clean: 32/32, 2.0 images/s, 0:00:00 left\n"


def test_a_stop_says_how_far_it_came(capsys) -> None:
    def stopped() -> None:
        with progress.progress("certify", 9) as tick:
            tick(3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert capsys.readouterr().err.startswith("certify: 3/9, ")


def test_nothing_to_do_is_nothing_to_tell(capsys) -> None:
    with progress.progress("certify", 9, done=9):
        pass
    assert capsys.readouterr().err == ""


def test_before_anything_is_done_nothing_is_said_of_its_rate(capsys, clock) -> None:
    with progress.progress("certify", 9) as tick:
        clock[0] = 10.0
        tick(0, "round 2", draws=5_000)
    assert capsys.readouterr().err == "certify: 0/9, 500 draws/s, round 2\n"


def test_the_time_left_is_told_by_draws_until_something_is_done(capsys, clock) -> None:
    with progress.progress("certify", 9, draws=20_000) as tick:
        clock[0] = 10.0
        tick(0, draws=5_000)
    assert capsys.readouterr().err == "certify: 0/9, 500 draws/s, about 0:00:30 left\n"


@pytest.mark.parametrize(
    ("completed", "note", "state"),
    [
        (320, "certified at 0.75: 0.812", "8.0 images/s, 33,000 draws/s, 0:00:22 left, certified at 0.75: 0.812"),
        (0, ROUND, f"33,000 draws/s, {ROUND}"),
    ],
)
def test_a_terminal_of_80_columns_shows_everything(capsys, monkeypatch, clock, completed, note, state) -> None:
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(stderr=stderr, force_terminal=True, width=80, color_system=None)
    )
    with progress.progress("certify gaussian:0.25", 500) as tick:
        clock[0] = 40.0
        tick(completed, note, draws=1_320_000)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert f"certify gaussian:0.25: {completed}/500" in shown
    assert state in shown
