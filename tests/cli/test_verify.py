"""gambeson verify: a run folder is evidence."""

import json

import pytest

CERTIFY = ("--noise", "gaussian:0.25", "--draws", 500, "--select-draws", 20, "--every", 10)
FIXED = ("--budget", "fixed")
VERIFY = ("--images", 15, "--draws", 500, "--seed", 5)


def test_an_honest_run_stands_and_says_so(gambeson, run) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0
    assert gambeson("certify", run, *CERTIFY, "--radii", "0,0.1").status == 0
    done = gambeson("verify", run, *VERIFY)
    assert done.status == 0, done.err
    assert done.out.count("stands") == 2
    verdicts = json.loads((run / "verified.json").read_text())["verified"]
    assert [verdict["stands"] for verdict in verdicts] == [True, True]
    assert all(verdict["images"] == 15 for verdict in verdicts)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [('"p_lower":0.', '"p_lower":0.9999', "p_lower is"), ('"hash":"', '"hash":"0', "its hash differs")],
)
def test_a_touched_run_does_not_stand(gambeson, run, old, new, words) -> None:
    assert gambeson("certify", run, *CERTIFY, *FIXED).status == 0
    lines = (run / "records.jsonl").read_text().splitlines(keepends=True)
    lines[-1] = lines[-1].replace(old, new, 1)
    (run / "records.jsonl").write_text("".join(lines))
    done = gambeson("verify", run, *VERIFY)
    assert done.status == 1
    assert words in done.err


def test_what_cannot_be_verified_is_said(gambeson, run) -> None:
    assert "holds no certificates" in gambeson("verify", run).err
    assert gambeson("verify", run, "--images", 0).status == 2
