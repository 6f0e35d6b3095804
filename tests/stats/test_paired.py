"""Paired comparison: McNemar against statsmodels, Tango's interval by its equation and by exact coverage."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from gambeson.errors import UserError
from gambeson.stats import paired


def images(both, only_a, only_b, neither):
    return [1] * (both + only_a) + [0] * (only_b + neither), [1] * both + [0] * only_a + [1] * only_b + [0] * neither


@pytest.mark.parametrize("table", [(80, 10, 5, 5), (10, 0, 0, 10), (0, 7, 0, 3), (400, 30, 12, 58), (3, 1, 1, 0)])
def test_p_value_is_mcnemar_s_exact_one(table):
    both, only_a, only_b, neither = table
    result = paired(*images(*table))
    expected = mcnemar([[both, only_a], [only_b, neither]], exact=True).pvalue
    assert result.p_value == pytest.approx(expected, rel=1e-12)
    assert (result.only_a, result.only_b) == (only_a, only_b)
    assert result.difference == pytest.approx((only_a - only_b) / sum(table))


def constrained_likelihood_score(only_a, only_b, n, d):
    """Tango's statistic with the nuisance share found by brute force instead of by his quadratic."""
    q = np.linspace(max(0, -d), (1 - d) / 2, 400_001)[1:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = only_a * np.log(q + d) + only_b * np.log(q) + (n - only_a - only_b) * np.log1p(-2 * q - d)
    best = q[np.nanargmax(logs)]
    return (only_a - only_b - n * d) / np.sqrt(n * (2 * best + d * (1 - d)))


@pytest.mark.parametrize("table", [(80, 10, 5, 5), (1, 1, 7, 12), (400, 30, 12, 58)])
def test_interval_ends_solve_the_score_equation(table):
    result = paired(*images(*table))
    z = stats.norm.ppf(0.975)
    for end, sign in ((result.lower, 1), (result.upper, -1)):
        score = constrained_likelihood_score(result.only_a, result.only_b, result.n, end)
        assert score == pytest.approx(sign * z, rel=1e-3)


def test_no_disagreement_has_the_closed_form():
    result = paired(*images(30, 0, 0, 20))
    z2 = stats.norm.ppf(0.975) ** 2
    assert result.upper == pytest.approx(z2 / (50 + z2))
    assert result.lower == pytest.approx(-z2 / (50 + z2))
    assert result.p_value == 1.0


def coverage(interval, n, p_a, p_b):
    """P(interval covers p_a - p_b), summed over every (only_a, only_b)."""
    total = 0.0
    for i in range(n + 1):
        for j in range(n + 1 - i):
            low, high = interval(i, j)
            if low <= p_a - p_b <= high:
                total += stats.multinomial.pmf([i, j, n - i - j], n, [p_a, p_b, 1 - p_a - p_b])
    return total


def test_coverage_over_every_table_is_near_nominal_and_wald_s_is_not():
    n = 25
    cache = {}

    def tango(i, j):
        if (i, j) not in cache:
            result = paired(*images(0, i, j, n - i - j))
            cache[i, j] = (result.lower, result.upper)
        return cache[i, j]

    def wald(i, j):
        d = (i - j) / n
        half = 1.96 * np.sqrt(max(i + j - (i - j) ** 2 / n, 0)) / n
        return d - half, d + half

    points = [(0.05, 0.05), (0.1, 0.02), (0.2, 0.1), (0.02, 0.0)]
    assert min(coverage(tango, n, *p) for p in points) > 0.93
    assert min(coverage(wald, n, *p) for p in points) < 0.90


def test_swapping_the_two_mirrors_the_interval():
    a, b = images(80, 10, 5, 5)
    one, other = paired(a, b), paired(b, a)
    assert (one.lower, one.upper) == pytest.approx((-other.upper, -other.lower))
    assert one.p_value == other.p_value


@pytest.mark.parametrize(("a", "b"), [([1, 0], [1]), ([], []), ([2], [1]), ([[1]], [[1]]), ([float("nan")], [1])])
def test_bad_arguments(a, b):
    with pytest.raises(UserError, match="allowed"):
        paired(a, b)
