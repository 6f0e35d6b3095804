"""The mixture is a martingale, its limits hold at every number of draws there is, and its bound is what they say."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom

from gambeson.stats import beta_mixture, clopper_pearson
from gambeson.stats.beta_mixture import limits, log_evidence
from gambeson.stats.group_sequential import crossing


@pytest.mark.parametrize("threshold", [0.5, 0.9, 0.999])
@pytest.mark.parametrize("n", [1, 7, 300])
def test_its_mean_is_one_at_every_time(threshold, n):
    """Over the binomial distribution at the threshold itself."""
    hits = np.arange(n + 1.0)
    evidence = np.exp(log_evidence(hits, np.full(n + 1, float(n)), np.full(n + 1, threshold)))
    mean = float(binom.pmf(hits, n, threshold) @ evidence)
    assert 1 - 1e-6 < mean <= 1 + 1e-9


@pytest.mark.parametrize(("hits", "n", "t"), [(9, 10, 0.7), (50, 60, 0.5), (400, 400, 0.99)])
def test_it_is_the_integral(hits, n, t):
    def ratio(theta: float) -> float:
        return (theta / t) ** hits * ((1 - theta) / (1 - t)) ** (n - hits)

    exact = quad(ratio, t, 1, limit=500, epsabs=0, epsrel=1e-10)[0] / (1 - t)
    found = log_evidence(*(np.array([float(v)]) for v in (hits, n, t)))[0]
    assert found == pytest.approx(np.log(exact), abs=1e-7)
    assert found <= np.log(exact) + 1e-9


@pytest.mark.parametrize("threshold", [0.5, 0.95])
def test_looking_after_every_single_draw_costs_nothing(threshold):
    every = list(range(1, 1500))
    assert 0.0002 < crossing(threshold, every, limits(threshold, every, 0.001)) <= 0.001


def test_the_bound_is_where_the_limits_are():
    draws = np.array([100, 1_000, 50_000])
    found = limits(0.9, draws.tolist(), 0.001)
    assert all(beta_mixture.lower(n - m, n, 0.001) >= 0.9 - 1e-12 for n, m in zip(draws, found, strict=True))
    assert all(beta_mixture.lower(n - m - 1, n, 0.001) < 0.9 for n, m in zip(draws, found, strict=True))


def test_it_pays_for_any_stopping_time_and_not_much():
    for k, n in ((990, 1_000), (60_000, 100_000), (100_000, 100_000), (0, 50)):
        here, there = beta_mixture.lower(k, n, 0.001), clopper_pearson.lower(k, n, 0.001)
        assert here <= there
        assert there - here < 0.6 * (k / n - there) + 1e-4
    table = beta_mixture.lower([[1, 2], [3, 4]], 5, 0.01)
    assert table.shape == (2, 2)
    assert np.all(np.diff(table.ravel()) >= 0)
