"""Splitting noise through certify, attack and verify: nothing left to chance, and the order of the two numbers."""

import copy
import re

import pytest
import torch
from torch import nn

from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.evaluation import attacked, certified
from gambeson.evaluation.replayed import replayer
from gambeson.evaluation.smoothing import smooth
from gambeson.evaluation.verified import on_fresh_noise
from gambeson.schema import check_record, check_settings

NOISE = "splitting:0.75"


@pytest.fixture(scope="module")
def split() -> tuple[nn.Module, Dataset]:
    """Bright or dark: a network trained on what splitting leaves of 4x4 images."""
    from gambeson.losses import noisy

    source = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (300,), generator=source)
    images = (torch.rand(300, 1, 4, 4, generator=source) * 90 + labels[:, None, None, None] * 160).to(torch.uint8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for rows in torch.arange(270).repeat(8).split(54):
        batch = images[rows].float() / 255, labels[rows]
        terms, _ = noisy({"model": model}, *batch, state={}, generator=source, sigma=0.75, noise="splitting")
        optimizer.zero_grad()
        terms["cross_entropy"].backward()
        optimizer.step()
    return model.eval(), Dataset("bright", "test", images[270:], labels[270:], 255, ("a", "b"), torch.arange(30) * 7)


def test_records_and_settings_are_complete_and_exact(split, without_seconds) -> None:
    evaluation = certified(*split, noise=NOISE)
    settings = check_settings("certified", evaluation.settings)
    assert (settings["draws"], settings["select_draws"], settings["alpha"], settings["tau"]) == (382, 0, 0.0, 0.0)
    assert settings["budget"] == "exact"
    assert settings["max_radius"] == {"splitting_l1": 191 / 255}
    records = list(evaluation)
    for record in records:
        check_record("certified", {"evaluation": "x", **record})
        assert sum(record["counts"]) == 382
        assert record["predict"] == record["selected"]
        assert 0 <= record["radii_real"]["splitting_l1"] <= record["radii"]["splitting_l1"] <= 191 / 255
    assert sum(record["correct"] and record["radii"]["splitting_l1"] > 0.3 for record in records) > 20
    plain = without_seconds(records)
    assert without_seconds(certified(*split, noise=NOISE, seed=5, draws=50).records()) == plain
    assert without_seconds(evaluation.records({record["index"] for record in plain[:4]})) == plain[4:]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"radii": [0.0, 0.5]}, "radii"),
        ({"smoothing": "soft"}, "soft smoothing"),
        ({"radii": "customary", "stop_wrong": True}, "stop_wrong"),
        ({"radii": "customary", "table_error": 0.01}, "table_error"),
        ({"price": 1e7, "rule": "beta_mixture"}, "price, rule"),
    ],
)
def test_what_is_about_draws_is_refused(split, options, named) -> None:
    with pytest.raises(UserError, match=rf"splitting:0\.75 is counted, and its radii are exact: leave {named} out"):
        certified(*split, noise=NOISE, **options)


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_no_attack_inside_the_radius_changes_the_class(split, norm) -> None:
    sure = {record["index"]: record for record in certified(*split, noise=NOISE)}
    eps = {"l1": (0.3, 6.0), "linf": (0.3 / 16, 0.8)}[norm]
    changed = 0
    for radius in eps:
        evaluation = attacked(*split, eps=radius, norm=norm, steps=5, noise=NOISE, attack_draws=8, predict_draws=30)
        settings = check_settings("attacked", evaluation.settings)
        assert (settings["predict_draws"], settings["predict_alpha"]) == (382, 0.0)
        for record in evaluation:
            known = sure[record["index"]]
            assert record["predict_clean"] == known["predict"]
            changed += record["predict"] != known["predict"]
            if record["distance"] * (1 if norm == "l1" else 16) <= known["radii_real"]["splitting_l1"]:
                assert record["predict"] == known["predict"]
    assert changed > 0  # the attack finds its way through the step functions


def test_verify_counts_again_and_wants_the_same(split) -> None:
    model, data = split
    evaluation = certified(model, data, noise=NOISE)
    records = list(evaluation)
    smoothed = smooth(model, data, noise=NOISE, seed=0, form=None, classes=2)
    assert list(map(replayer(smoothed, evaluation.settings, 16), records, data.pixels())) == [None] * 30
    verdict, rejected = on_fresh_noise(smoothed, data.pixels(), records, draws=10, alpha=0.0)
    assert (verdict.stands, verdict.allowed, verdict.draws, rejected) == (True, 0, 382, [])
    one_vote_off = copy.deepcopy(records)
    row = next(row for row, record in enumerate(records) if min(record["counts"]) > 0)
    one_vote_off[row]["counts"] = [one_vote_off[row]["counts"][0] + 1, one_vote_off[row]["counts"][1] - 1]
    verdict, rejected = on_fresh_noise(smoothed, data.pixels(), one_vote_off, draws=10, alpha=0.0)
    assert (verdict.stands, rejected) == (False, [records[row]["index"]])


@pytest.mark.parametrize(
    ("field", "change", "words"),
    [
        ("counts", lambda counts: [counts[0] + 1, *counts[1:]], "add up to 382 draws at most"),
        ("selected", lambda selected: 1 - selected, "selected is"),
        ("p_lower", lambda p: p - 1e-6, "p_lower is"),
        ("radii", lambda radii: {"splitting_l1": radii["splitting_l1"] + 1 / 255}, r"radii\.splitting_l1 is"),
        ("predict", lambda predict: 1 - predict, "predict is"),
        ("radii_real", lambda radii: {"splitting_l1": radii["splitting_l1"] + 1 / 255}, r"radii_real\.splitting_l1 is"),
    ],
)
def test_a_touched_record_is_found_out(split, field, change, words) -> None:
    model, data = split
    evaluation = certified(model, data.subset([0]), noise=NOISE)
    (record,) = evaluation
    smoothed = smooth(model, data, noise=NOISE, seed=0, form=None, classes=2)
    problem = replayer(smoothed, evaluation.settings, 16)
    found = problem({**record, field: change(record[field])}, data.pixels([0])[0])
    assert found is not None
    assert re.search(words, found)
