"""Plain lines where there is no terminal: a rate, the time left, and an end."""

import re

from gambeson.cli import progress


def test_plain_lines(capsys, monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress, "perf_counter", lambda: now[0])
    with progress.progress("certify", 100, done=40) as tick:
        for completed in range(41, 101):
            now[0] += 1
            tick(completed, "correct 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6  # one in ten seconds
    assert lines[0] == "certify: 50/100, 1.0 images/s, 0:00:50 left correct 0.5"  # its own rate, not that of the 40
    assert re.fullmatch(r"certify: 100/100, 1\.0 images/s, 0:00:00 left correct 0\.5", lines[-1])
