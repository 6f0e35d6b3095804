"""Honest records stand; records that were touched, or that claim too much, do not."""

import copy
import re

import pytest

from gambeson.errors import UserError
from gambeson.evaluation import certified
from gambeson.evaluation.smoothing import smooth
from gambeson.evaluation.verified import on_fresh_noise, recomputer

SMALL = {"noise": "gaussian:0.3", "draws": 2_000, "select_draws": 50, "alpha": 0.01}


GRID = {"radii": [0.0, 0.1, 0.2], "price": 1e5}
KINDS = {"fixed": {}, "grid": GRID, "beta_mixture": {**GRID, "rule": "beta_mixture"}, "soft": {"smoothing": "soft"}}


@pytest.fixture(params=KINDS)
def evidence(request, trained):
    data = trained.data.subset(range(25))
    evaluation = certified(trained.model, data, **KINDS[request.param], **SMALL)
    smoothed = smooth(trained.model, data, noise="gaussian:0.3", seed=0, form=None, classes=3)
    return smoothed, evaluation.settings, data, list(evaluation)


def test_honest_records_stand(evidence) -> None:
    smoothed, settings, data, records = evidence
    assert list(map(recomputer(smoothed, settings, data.images[0].numel()), records)) == [None] * 25
    claims = [(row, r) for row, r in enumerate(records) if r["predict"] != -1]
    images = data.pixels([row for row, _ in claims])
    verdict, rejected = on_fresh_noise(smoothed, images, [r for _, r in claims], draws=2_000, alpha=0.01, seed=1)
    assert verdict.stands
    assert (verdict.rejected, rejected) == (0, [])
    assert verdict.images > 15


@pytest.mark.parametrize(
    ("field", "change", "words"),
    [
        ("p_lower", lambda p: min(1.0, p + 1e-4), "p_lower is"),
        ("radii", lambda radii: {**radii, "gaussian_l2": radii["gaussian_l2"] + 0.01}, "the radius gaussian_l2"),
        ("selected", lambda selected: (selected + 1) % 3, "selected is"),
        ("counts", lambda counts: [c + 1 for c in counts], "add up|do not end at its counts"),
    ],
)
def test_a_touched_record_is_found_out(evidence, field, change, words) -> None:
    smoothed, settings, data, records = evidence
    record = copy.deepcopy(next(r for r in records if 0.5 < r["p_lower"] < 0.99))
    record[field] = change(record[field])
    found = recomputer(smoothed, settings, data.images[0].numel())(record)
    assert found is not None
    assert re.search(words, found)


def test_looks_that_are_not_the_plans_are_found_out(evidence) -> None:
    smoothed, settings, data, records = evidence
    record = copy.deepcopy(records[0])
    if settings["budget"] == "fixed":  # no looks: the number of draws
        record["nonfinite"] += 1
        assert "add up" in recomputer(smoothed, settings, data.images[0].numel())(record)
        return
    record["looks"][0] = [record["looks"][0][0] + 1, record["looks"][0][1]]
    assert "looks" in recomputer(smoothed, settings, data.images[0].numel())(record)


@pytest.mark.parametrize("change", [lambda s: [s[0] + 1, *s[1:]], lambda s: [s[0] + s[-1] + 9, *s[1:-1], -9], len])
def test_scores_that_were_touched_are_found_out(evidence, change) -> None:
    smoothed, settings, data, records = evidence
    problem = recomputer(smoothed, settings, data.images[0].numel())
    if "smoothing" in settings:
        record = copy.deepcopy(records[0])
        record["scores"] = change(record["scores"]) if change is not len else record["scores"][:-1]
        assert "its scores are" in problem(record)
        moved = copy.deepcopy(next(r for r in records if 0.5 < r["p_lower"] < 0.99))
        worst = next(place for place in reversed(range(640)) if moved["scores"][place])
        moved["scores"][worst] -= 1
        moved["scores"][0] += 1
        assert "p_lower is" in problem(moved)
        with pytest.raises(UserError, match="scores are in bins"):
            recomputer(smoothed, {**settings, "score_bins": {"octaves": 20, "steps": 7}}, 36)


def test_claims_that_are_too_high_fall_on_fresh_noise(evidence) -> None:
    """A model that was swapped, noise that was weaker: whatever made the claims, they do not hold here."""
    smoothed, _, data, records = evidence
    liars = [{**r, "p_lower": 0.999} for r in records if r["p_lower"] < 0.97]
    assert len(liars) >= 3
    rows = [row for row, r in enumerate(records) if r["p_lower"] < 0.97]
    verdict, rejected = on_fresh_noise(smoothed, data.pixels(rows), liars, draws=5_000, alpha=0.001, seed=2)
    assert not verdict.stands
    assert len(rejected) == verdict.rejected > verdict.allowed


def test_without_a_seed_the_noise_is_new(evidence) -> None:
    smoothed, _, data, records = evidence
    seeds = {on_fresh_noise(smoothed, data.pixels([0]), records[:1], draws=10, alpha=0.01)[0].seed for _ in range(3)}
    assert len(seeds) == 3


def test_records_of_another_rule_are_found_out(trained) -> None:
    """Where the rules differ, a bound by one is not the bound by the other."""
    data = trained.data.subset(range(40))
    smoothed = smooth(trained.model, data, noise="gaussian:0.3", seed=0, form=None, classes=3)
    evaluation = certified(trained.model, data, radii=[0.025 * step for step in range(20)], price=1e6, **SMALL)
    settings, records = evaluation.settings, list(evaluation)
    other = {**settings, "budget": {**settings["budget"], "rule": "beta_mixture"}}
    values = data.images[0].numel()
    assert not any(map(recomputer(smoothed, settings, values), records))
    assert any(map(recomputer(smoothed, other, values), records))
