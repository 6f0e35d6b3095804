"""The exact forecast against a simulation, and against what must hold."""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import binom

from gambeson.stats import forecast, plan

PLAN = plan(ndtr([0.0, 1.0, 2.0]), alpha=0.01, cap=5_000, price=3e5)


@pytest.mark.parametrize("p", [0.3, 0.52, 0.85, 0.95, 0.985, 0.9999])
def test_it_is_what_a_simulation_finds(p):
    found, images, rng = forecast(PLAN, p), 20_000, np.random.default_rng(0)
    misses, level, draws = np.zeros(images, dtype=int), np.zeros(images, dtype=int), np.zeros(images)
    active, before = np.arange(images), 0
    for look, n in enumerate(PLAN.looks):
        misses[active] += rng.binomial(n - before, 1 - p, len(active))
        draws[active], before = n, n
        level[active] = [PLAN.level(look, m, had) for m, had in zip(misses[active], level[active], strict=True)]
        active = active[[PLAN.goes_on(look, misses[i], level[i]) for i in active]]
    for threshold, chance in enumerate(found.certified):
        count = int((level > threshold).sum())
        chance = min(chance, 1.0)
        assert binom.cdf(count, images, chance) > 1e-6
        assert binom.sf(count - 1, images, chance) > 1e-6
    assert abs(draws.mean() - found.draws) < 6 * draws.std() / np.sqrt(images) + 1e-6


def test_certainty_and_its_limits():
    sure = forecast(PLAN, 1.0)
    assert np.array_equal(sure.certified, np.ones(3))
    assert sure.draws == next(n for look, n in enumerate(PLAN.looks) if PLAN.certifies[2, look] >= 0)
    for p in (0.2, 0.9, 0.99):
        found = forecast(PLAN, p)
        assert np.all(np.diff(found.certified) <= 1e-12)
        assert 100 <= found.draws <= 5_000
        above = [chance for t, chance in zip(PLAN.thresholds, found.certified, strict=True) if t >= p]
        assert all(chance <= 0.01 for chance in above)
