"""The chance of ever certifying too much: by exact recursion, by enumeration with fractions, by simulation."""

from fractions import Fraction
from itertools import product
from math import comb

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from gambeson.certificates.customary import customary
from gambeson.errors import UserError
from gambeson.noise import lattice, parse
from gambeson.stats import beta_mixture, looks, lower
from gambeson.stats.group_sequential import crossing, limits

THRESHOLDS = [0.5, *ndtr([0.5, 1.0, 2.0, 3.0, 3.5]).tolist()]
LOOKS = looks(100_000)
RULES = {"group_sequential": limits, "beta_mixture": beta_mixture.limits}


def enumerated(p: Fraction, draws: list[int], misses: list[int]) -> Fraction:
    """The crossing probability in rational numbers, without any of the code under test."""
    alive, total, before = {0: Fraction(1)}, Fraction(0), 0
    for n, limit in zip(draws, misses, strict=True):
        d, now = n - before, {}
        for m, mass in alive.items():
            for more in range(d + 1):
                chance = comb(d, more) * (1 - p) ** more * p ** (d - more)
                now[m + more] = now.get(m + more, 0) + mass * chance
        total += sum((mass for m, mass in now.items() if m <= limit), Fraction(0))
        alive, before = {m: mass for m, mass in now.items() if m > limit}, n
    return total


@pytest.mark.parametrize("p", [Fraction(1, 2), Fraction(7, 10), Fraction(99, 100)])
@pytest.mark.parametrize("misses", [[-1, -1, -1], [0, 1, 2], [1, 1, 5], [-1, 3, 3], [5, 9, 14]])
def test_the_recursion_is_the_enumeration(p, misses):
    draws = [5, 9, 14]
    exact = float(enumerated(p, draws, misses))
    found = crossing(float(p), draws, misses)
    assert exact <= found <= exact * (1 + 1e-8) + 1e-15


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("alpha", [0.1, 0.001, 1e-6])
@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_the_crossing_probability_is_at_most_alpha(rule, alpha, threshold):
    found = RULES[rule](threshold, LOOKS, alpha)
    at = crossing(threshold, LOOKS, found)
    assert at <= alpha
    assert crossing(threshold - 0.02 * (1 - threshold), LOOKS, found) < at
    if rule == "group_sequential" and threshold < 0.999:
        assert at > 0.75 * alpha  # what whole counts allow


def customary_thresholds() -> list[float]:
    """Every threshold that `certify` takes by itself for MNIST and CIFAR-10 under published noises, at alpha 0.001."""
    found = set()
    for (dataset, values), sigma in product({"mnist": 784, "cifar10": 3072}.items(), (0.25, 0.5, 1.0)):
        largest = sigma * ndtri(lower(100_000, 100_000, 0.001))
        radii = [radius for radius in customary(dataset, "l2", largest) if radius < largest]
        noise = lattice(parse(f"gaussian:{sigma}"), 255)
        found |= {float(ndtr(radius / sigma)) + noise.tau * values for radius in radii}
    return sorted(found)


@pytest.mark.long
@pytest.mark.parametrize("alpha", [0.1, 0.001, 1e-6])
@pytest.mark.parametrize("rule", RULES)
def test_at_every_customary_threshold_too(rule, alpha):
    chances = [crossing(t, LOOKS, RULES[rule](t, LOOKS, alpha)) for t in customary_thresholds()]
    assert len(chances) > 30
    assert 0 < max(chances) <= alpha


def test_what_is_not_followed_counts_against_us():
    """So few misses are 9.4 standard deviations away: left out of the recursion, but not of its answer."""
    assert 0 < binom.cdf(48_500, 100_000, 0.5) <= crossing(0.5, [100_000], [48_500]) <= 1e-15


def test_mutant_alpha_at_every_look_is_noticed():
    """Clopper-Pearson at the full alpha at each look: what peeking does."""
    draws = LOOKS[:22]
    for threshold in (0.5, 0.9, 0.99):
        found = binom.ppf(0.001, draws, 1 - threshold).astype(int)
        found -= binom.cdf(found, draws, 1 - threshold) > 0.001
        assert crossing(threshold, draws, found) > 0.002


@pytest.mark.parametrize("threshold", [0.5, 0.9772, 0.99865])
def test_the_last_look_loses_little_to_a_fixed_budget(threshold):
    """Three fifths of alpha: the limit stays within a quarter of a standard deviation of Clopper-Pearson's."""
    fixed = int(binom.ppf(0.001, 100_000, 1 - threshold))
    found = int(limits(threshold, LOOKS, 0.001)[-1])
    spread = np.sqrt(100_000 * threshold * (1 - threshold))
    assert 0 <= fixed - found <= 0.25 * spread + 1
    assert lower(100_000 - found, 100_000, 0.001) >= threshold


def simulated(threshold: float, found: np.ndarray, images: int, seed: int) -> int:
    rng, misses, before = np.random.default_rng(seed), np.zeros(images, dtype=np.int64), 0
    crossed = np.zeros(images, dtype=bool)
    for n, limit in zip(LOOKS, found, strict=True):
        misses += rng.binomial(n - before, 1 - threshold, images)
        crossed |= misses <= limit
        before = n
    return int(crossed.sum())


@pytest.mark.parametrize("threshold", [0.5, 0.99])
def test_a_simulation_agrees(threshold):
    found = limits(threshold, LOOKS, 0.01)
    images, exact = 20_000, crossing(threshold, LOOKS, found)
    count = simulated(threshold, found, images, 1)
    assert binom.cdf(count, images, exact) > 1e-6
    assert binom.sf(count - 1, images, exact) > 1e-6


@pytest.mark.long
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("threshold", [0.5, 0.9772, 0.99865])
def test_a_simulation_of_a_million_agrees(rule, threshold):
    found = RULES[rule](threshold, LOOKS, 0.001)
    exact = crossing(threshold, LOOKS, found)
    count = simulated(threshold, found, 1_000_000, 2)
    assert binom.cdf(count, 1_000_000, exact) > 1e-6
    assert binom.sf(count - 1, 1_000_000, exact) > 1e-6


@pytest.mark.parametrize("rule", RULES)
def test_limits_never_fall(rule):
    """Whoever was certified stays so; otherwise nested thresholds would take the last look from each other."""
    for threshold in [0.97, 0.98, 0.99, 0.9928]:
        found = RULES[rule](threshold, looks(1_000), 0.001)
        assert np.all(np.diff(found) >= 0)


def test_unanimous_draws_certify_no_earlier_than_they_can():
    found = limits(0.99, LOOKS, 0.001)
    first = next(n for n, limit in zip(LOOKS, found, strict=True) if limit >= 0)
    assert 0.99**first <= 0.001


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: limits(1.0, LOOKS, 0.001), "threshold = 1.0"),
        (lambda: limits(0.9, LOOKS, 0.0), "alpha = 0.0"),
        (lambda: limits(0.9, [100, 100], 0.001), "increasing whole numbers"),
        (lambda: limits(0.9, [], 0.001), "increasing whole numbers"),
        (lambda: beta_mixture.limits(0.0, LOOKS, 0.001), "threshold = 0.0"),
    ],
)
def test_what_is_no_test_is_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()
