"""Adaptive certification as a whole: exact error over every stopping rule, and what futility gives away."""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import betabinom, binom

from gambeson.errors import UserError
from gambeson.stats import RULES, attainable, group_sequential, looks, plan
from gambeson.stats.futility import _index, worth

GRID = ndtr(np.arange(0, 3.6, 0.5))
PLAN = plan(GRID, alpha=0.001)
PLANS = {rule: plan(GRID, alpha=0.001, rule=rule) for rule in RULES}


def run(p: float, rng: np.random.Generator, made=PLAN) -> tuple[int, int]:
    """Draws and certified thresholds of one image."""
    misses = level = before = 0
    for look, n in enumerate(made.looks):
        misses += rng.binomial(n - before, 1 - p)
        before = n
        level = made.level(look, misses, level)
        if not made.goes_on(look, misses, level):
            return n, level
    raise AssertionError("an image goes on after the last look")


def test_a_higher_threshold_is_never_easier():
    assert np.all(np.diff(PLAN.certifies, axis=0) <= 0)
    assert PLAN.certifies.shape == PLAN.continues.shape == (len(GRID), len(PLAN.looks))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("between", [0.0, 0.3, 0.999, 1.0])
def test_whatever_is_not_below_p_is_certified_with_probability_alpha_at_most(between, rule):
    """The limits are nested, so certifying anything above p means crossing the next threshold's limits."""
    made = PLANS[rule]
    for below, above, row in zip(GRID, GRID[1:], made.certifies[1:], strict=False):
        p = below + between * (above - below)
        assert group_sequential.crossing(p, made.looks, row) <= 0.001


def test_the_rules_are_two():
    """The one is sharper at the cap, the other certifies clear images earlier."""
    spending, mixture = (PLANS[rule].certifies[3] for rule in ("group_sequential", "beta_mixture"))
    assert spending[-1] > mixture[-1]
    assert np.any(mixture[:-1] > spending[:-1])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("cap", [10, 130, 1_000, 6_900])
def test_attainable_is_what_a_plan_up_to_the_cap_may_certify(cap, rule):
    made = plan(GRID, alpha=0.001, cap=cap, rule=rule)
    may = [attainable(t, alpha=0.001, cap=cap, rule=rule) for t in made.thresholds]
    assert may == (made.certifies.max(1) >= 0).tolist()
    assert True in may or cap == 10
    assert False in may


def test_futility_only_loses():
    """Many images exactly at a threshold, the most dangerous place, at a large alpha: errors stay below it."""
    made, rng = plan(GRID[:4], alpha=0.1, cap=5_000), np.random.default_rng(0)
    wrong = sum(run(GRID[1], rng, made)[1] > 1 for _ in range(2_000))
    assert wrong <= binom.isf(1e-6, 2_000, 0.1)


def test_easy_images_stop_early_and_hopeless_ones_too():
    rng = np.random.default_rng(1)
    assert run(0.2, rng)[0] <= 500
    draws, level = run(float(ndtr(2.25)), rng)
    assert level == 5
    assert draws < 100_000 / 3
    assert run(1.0, rng)[1] == len(GRID)


def test_the_forecast_is_the_beta_binomial():
    """Jeffreys' posterior in 24 nodes against the closed form."""
    draws, row = np.array([1_000, 3_000]), np.array([[5, 60]])
    for misses in (10, 20, 25, 40):
        exact = betabinom.cdf(60 - misses, 2_000, misses + 0.5, 1_000 - misses + 0.5)
        assert _index(row, draws, 0, misses) * 2_000 == pytest.approx(exact, abs=0.02)


def test_a_higher_price_goes_on_longer():
    cheap, dear = (worth(PLAN.certifies, PLAN.looks, price) for price in (1e5, 1e8))
    assert np.all(dear >= cheap)
    assert np.any(dear > cheap)
    assert np.all(cheap[:, :-1] >= PLAN.certifies[:, :-1])  # nobody is given up for what he certifies


def test_an_image_stops_at_the_last_look_and_when_all_is_certified():
    assert not PLAN.goes_on(len(PLAN.looks) - 1, 0, 0)
    assert not PLAN.goes_on(0, 0, len(GRID))
    assert PLAN.level(0, 100) == 0
    assert PLAN.level(0, 100, before=3) == 3


def test_the_same_plan_is_made_once():
    made = plan(GRID[:2], alpha=0.001, cap=500)
    assert plan(GRID[:2].tolist(), alpha=0.001, cap=500) is made
    assert plan(GRID[:2], alpha=0.001, cap=500, price=1e6) is not made


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plan([0.9, 0.5], alpha=0.001), "increasing probabilities"),
        (lambda: plan([0.5], alpha=0.001, price=0), "price = 0"),
        (lambda: plan([1.5], alpha=0.001), "threshold = 1.5"),
        (lambda: plan([0.5], alpha=2), "alpha = 2"),
        (lambda: plan([0.5], alpha=0.1, rule="pocock"), "rule is 'pocock'; it must be one of group_sequential, beta"),
    ],
)
def test_what_is_no_plan_is_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_a_schedule_of_ones_own():
    made = plan(GRID[:2], alpha=0.01, looks=looks(1_000, growth=2.0))
    assert made.looks == looks(1_000, growth=2.0)
