"""Top class from below, all others from above: one split of alpha, Bonferroni over every other class."""

import itertools

import numpy as np
import pytest
from scipy import stats

from gambeson.errors import UserError
from gambeson.stats import largest_p_lower, lower, top_and_rest, upper


def test_formula():
    low, high = top_and_rest([900, 60, 40], 0, 0.01)
    assert low == lower(900, 1000, 0.005)
    assert high == upper(60, 1000, 0.0025)


def test_p_upper_never_exceeds_the_rest():
    low, high = top_and_rest([100, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, 0.001)
    assert high == 1 - low


def test_two_classes_use_the_complement():
    low, high = top_and_rest([90, 10], 0, 0.01)
    assert high == min(1 - low, upper(10, 100, 0.005))


def test_selected_class_need_not_lead():
    low, high = top_and_rest([10, 90], 0, 0.01)
    assert low == lower(10, 100, 0.005)
    assert high == upper(90, 100, 0.005)


def test_rows_and_single_images_agree():
    table = np.array([[900, 60, 40], [10, 980, 10]])
    low, high = top_and_rest(table, [0, 1], 0.01)
    for row, pick, a, b in zip(table, [0, 1], low, high, strict=True):
        assert (a, b) == tuple(top_and_rest(row, pick, 0.01))


def test_draws_that_count_for_no_class_stay_in_n():
    low, high = top_and_rest([90, 5], 0, 0.01, draws=100)
    assert low == lower(90, 100, 0.005)
    assert high == min(upper(5, 100, 0.005), 1 - low)


def every_table(n, p):
    """Every count vector of n draws from p, with its probability."""
    rows = np.array([r for r in itertools.product(range(n + 1), repeat=len(p) - 1) if sum(r) <= n])
    rows = np.column_stack([rows, n - rows.sum(1)])
    return rows, stats.multinomial.pmf(rows, n, p)


def failure(split, p, n, alpha, classes):
    """P(p_lower > p_0 or p_upper < some other class); the last share of p counts for no class if classes < len(p)."""
    rows, chance = every_table(n, p)
    low, high = split(rows[:, :classes], n, alpha)
    return chance[(low > p[0]) | (high < max(p[1:classes]))].sum()


def honest(rows, n, alpha):
    return top_and_rest(rows, 0, alpha, draws=n)


def not_split(rows, n, alpha):
    """The mutant: each bound at the full alpha, on the observed runner-up alone."""
    return lower(rows[:, 0], n, alpha), upper(rows[:, 1:].max(1), n, alpha)


SHARES = [(a, b, 1 - a - b) for a in (0.1, 0.2, 0.35, 0.4, 0.6) for b in (0.05, 0.15, 0.3) if a + b < 1]


@pytest.mark.parametrize("classes", [2, 3])
def test_both_bounds_hold_at_once_over_every_count(classes):
    assert max(failure(honest, p, 40, 0.1, classes) for p in SHARES) <= 0.1


def test_the_check_rejects_an_alpha_that_is_not_split():
    assert max(failure(not_split, p, 40, 0.1, 2) for p in SHARES) > 0.1


def test_largest_p_lower():
    assert largest_p_lower(100_000, 0.001) == lower(100_000, 100_000, 0.001)
    assert largest_p_lower(100, 0.001) <= 0.001 ** (1 / 100)


@pytest.mark.parametrize(
    ("counts", "selected", "draws", "names"),
    [([5], 0, None, "counts"), (5, 0, None, "counts"), ([1, -1], 0, None, "counts"), ([1.5, 1], 0, None, "counts"),
     ([1, 2], 2, None, "selected"), ([1, 2], -1, None, "selected"), ([5, 6], 0, 10, "sum of counts"),
     ([0, 0], 0, None, "n")],
)  # fmt: skip
def test_bad_arguments_are_named(counts, selected, draws, names):
    with pytest.raises(UserError, match=rf"^{names} "):
        top_and_rest(counts, selected, 0.01, draws)
