"""Thresholds that are ruled out: the chance that it is wrong, exactly, by a recursion that shares no code with it."""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import binom

from gambeson.stats import RULES, group_sequential, looks
from gambeson.stats.ruled_out import ruled_out

AT, BETA = looks(3_000, growth=1.5), 0.01
GRID = [*ndtr([0.0, 0.5, 1.0, 2.0]).tolist(), 0.9995]
RULED = {rule: ruled_out(GRID, AT, BETA, rule) for rule in RULES}


def ever(p: float, least: np.ndarray) -> float:
    """P(at some look the misses are at least that look's), the draws hitting with probability p."""
    mass, before, crossed = np.ones(1), 0, 0.0
    for n, limit in zip(AT, least, strict=True):
        mass = np.convolve(mass, binom.pmf(np.arange(n - before + 1), n - before, 1 - p))
        crossed += mass[limit:].sum()
        mass[limit:] = 0
        before = n
    return crossed


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("row", range(len(GRID)))
@pytest.mark.parametrize("above", [0.0, 0.01, 0.5, 0.999])
def test_what_is_reached_is_ruled_out_with_probability_beta_at_most(rule, row, above):
    """The limits are nested, so ruling out anything that p reaches means ruling out the largest of it."""
    upper = GRID[row + 1] if row + 1 < len(GRID) else 1.0
    assert ever(GRID[row] + above * (upper - GRID[row]), RULED[rule][row]) <= BETA * (1 + 1e-12)


def test_spending_spends_what_there_is_and_a_larger_beta_is_noticed():
    assert ever(GRID[2], RULED["group_sequential"][2]) > 0.9 * BETA
    twice = ruled_out(GRID, AT, 2 * BETA, "group_sequential")
    assert ever(GRID[2], twice[2]) > BETA


def test_limits_that_certify_are_no_limits_that_rule_out():
    """The mutant that forgets the mirror: misses just too many to certify are likely at the threshold itself."""
    certifies = group_sequential.limits(GRID[2], AT, BETA)
    assert ever(GRID[2], certifies + 1) > 0.9


@pytest.mark.parametrize("rule", RULES)
def test_a_lower_threshold_is_never_easier_to_rule_out(rule):
    least = RULED[rule]
    assert np.all(np.diff(least, axis=0) <= 0)
    assert least.shape == (len(GRID), len(AT))


@pytest.mark.parametrize("rule", RULES)
def test_what_is_not_reached_is_ruled_out_in_time(rule):
    for row, threshold in enumerate(GRID[:4]):
        assert ever(threshold - 0.07, RULED[rule][row]) > 0.99


def test_what_no_draws_can_rule_out_takes_more_than_all():
    assert ruled_out([0.5], [3, 5], 0.001, "group_sequential").tolist() == [[4, 6]]


def test_nothing_is_certified_and_ruled_out_by_the_same_count():
    for rule in RULES:
        for threshold, least in zip(GRID, RULED[rule], strict=True):
            assert np.all(RULES[rule](threshold, AT, BETA) < least)
