"""The whole road in one command; `.ci/run` runs it by itself and looks at the clock."""

import json
import re

import pytest


@pytest.mark.long
def test_quickstart_meets_its_promises(gambeson, tmp_path) -> None:
    done = gambeson("quickstart", "--out", tmp_path / "quick")
    assert done.status == 0, done.err
    assert re.search(r"certified at l2 radius 0\.25 .*digits-noisy 0\.\d{3}, digits-stability 0\.\d{3} \(", done.out)
    summary = json.loads((tmp_path / "quick" / "report" / "summary.json").read_text())
    runs = {run["method"]: run for run in summary["runs"]}
    assert runs["plain"]["clean_accuracy"] >= 0.96
    for method in ("noisy", "stability"):
        (curve,) = [c["curve"] for c in runs[method]["certified"] if c["certificate"] == "gaussian_l2"]
        assert next(point["accuracy"] for point in curve if point["radius"] == 0.25) > 0.5
    assert not [check for run in summary["runs"] for check in run["checks"] if check["verdict"] == "fail"]
    assert (tmp_path / "quick" / "report" / "index.html").stat().st_size > 100_000
