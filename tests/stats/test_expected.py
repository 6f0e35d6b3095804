"""What a few draws of a few images say of the cost of all: closed forms, many draws, and published probabilities."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

from gambeson.errors import UserError
from gambeson.stats import expected, expected_draws, forecast, lower, plan
from gambeson.stats.expected import NODES, posterior

LOGS = json.loads((Path(__file__).parents[2] / "results" / "draws" / "p.json").read_text())
MADE = plan(ndtr([0.0, 1.0, 2.0]), alpha=0.01, cap=5_000, price=3e5)


def one_round(monkeypatch):
    """Nothing is learnt from the other images."""
    monkeypatch.setattr(expected, "ROUNDS", 1)


@pytest.mark.parametrize("hits", [20, 50, 90, 99])
def test_an_image_alone_has_jeffreys_posterior(monkeypatch, hits):
    one_round(monkeypatch)
    found = posterior(np.array([float(hits)]), np.array([100.0]))[0]
    assert found.sum() == pytest.approx(1)
    mean = (hits + 0.5) / 101
    assert found @ NODES == pytest.approx(mean, abs=2e-3)
    assert found @ NODES**2 - mean**2 == pytest.approx(mean * (1 - mean) / 102, rel=0.1)


@pytest.mark.parametrize("p", [0.3, 0.75, 0.93, 0.9999])
def test_many_draws_leave_nothing_to_guess(p):
    found = expected_draws(MADE, [round(p * 10**6)] * 2, 10**6)
    assert found == pytest.approx(forecast(MADE, p).draws, rel=0.15)


def test_every_image_lies_between_the_first_look_and_the_last():
    found = expected_draws(MADE, np.arange(0, 101, 10), 100)
    assert found.shape == (11,)
    assert np.all((found >= 100 - 1e-9) & (found <= 5_000))
    assert found[0] == pytest.approx(100)


@pytest.mark.parametrize("sigma", [pytest.param(s, marks=[] if s == "0.25" else pytest.mark.long) for s in LOGS])
def test_published_probabilities_within_a_factor_of_two(sigma):
    """100 draws of 64 images, fifty times over."""
    p = np.array([np.nan if value is None else value for value in LOGS[sigma]["p"]])
    p[np.isnan(p)] = np.linspace(0.25, 0.5, int(np.isnan(p).sum()))
    p = np.sort(p)[::5]
    radii = [0.25 * k for k in range(16) if ndtr(0.25 * k / float(sigma)) < lower(100_000, 100_000, 0.001)]
    made, rng = plan(ndtr(np.array(radii) / float(sigma)), alpha=0.001), np.random.default_rng(0)
    truth = np.mean([forecast(made, value).draws for value in p.tolist()])
    cost = np.array([forecast(made, node).draws for node in NODES.tolist()])
    ratios = []
    for _ in range(50):
        hits = rng.binomial(100, rng.choice(p, 64)).astype(float)
        ratios.append(float((posterior(hits, np.full(64, 100.0)) @ cost).mean() / truth))
    assert 0.5 < min(ratios) < max(ratios) < 2
    assert 0.8 < np.median(ratios) < 1.25


def test_images_that_nothing_shakes_are_known_by_their_company(monkeypatch):
    """One image with 100 of 100 may lie anywhere above 0.95; all of them with 100 of 100 do not."""
    made = plan(ndtr([0.0, 1.0, 2.0]), alpha=0.001, cap=5_000)
    hits = np.random.default_rng(0).binomial(100, 1 - 1e-6, 64)
    truth = forecast(made, 1 - 1e-6).draws
    learnt = expected_draws(made, hits, 100).mean()
    one_round(monkeypatch)
    alone = expected_draws(made, hits, 100).mean()
    assert abs(learnt / truth - 1) < 0.15 < abs(alone / truth - 1)


def test_what_is_no_row_of_images_is_refused():
    for hits in ([], [[1, 2]]):
        with pytest.raises(UserError, match="one row of images"):
            expected_draws(MADE, hits, 100)
    with pytest.raises(UserError, match="k counts some of the n draws"):
        expected_draws(MADE, [101], 100)
