"""The betting bound: valid over every outcome, checked in 50 digits, and near Clopper-Pearson on votes."""

from itertools import combinations_with_replacement

import mpmath as mp
import numpy as np
import pytest
from scipy.stats import binom, multinomial

from gambeson.errors import UserError
from gambeson.stats import betting, clopper_pearson, empirical_bernstein, score_bins

LAWS = [
    ([0.0, 1.0], [0.5, 0.5]),
    ([0.0, 1.0], [0.02, 0.98]),
    ([0.0, 0.5, 1.0], [0.1, 0.3, 0.6]),
    ([0.2, 0.7, 0.9], [0.3, 0.3, 0.4]),
    ([0.0, 0.99, 1.0], [0.01, 0.5, 0.49]),
]


def outcomes(values: list[float], chances: list[float], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Every histogram of n draws (all, B), and its probability."""
    size = len(values)
    table = np.array([np.bincount(drawn, minlength=size) for drawn in combinations_with_replacement(range(size), n)])
    return table, multinomial.pmf(table, n, chances)


@pytest.mark.parametrize(("values", "chances"), LAWS)
@pytest.mark.parametrize("n", [1, 6, 12])
def test_the_mean_wealth_at_the_true_mean_is_one(values, chances, n) -> None:
    """What Markov's inequality needs, exactly: weights that add up to more, or unfair odds, would show."""
    table, chance = outcomes(values, chances, n)
    mean = float(np.dot(values, chances))
    wealth = [np.exp(betting._log_wealth(np.array(values)[row > 0], row[row > 0], mean)) for row in table]
    assert 1 - 1e-9 < float(chance @ wealth) <= 1 + 1e-13


@pytest.mark.parametrize(("values", "chances"), LAWS)
@pytest.mark.parametrize("alpha", [0.5, 0.1, 0.01])
def test_it_fails_at_most_as_often_as_alpha_over_every_outcome(values, chances, alpha) -> None:
    """Below the mean and, for the upper bound, above it; the mean itself moved up a little is noticed."""
    mean = float(np.dot(values, chances))
    table, chance = outcomes(values, chances, 10)
    low = np.array([betting.lower(values, row, alpha) for row in table])
    high = np.array([betting.upper(values, row, alpha) for row in table])
    assert chance @ (low > mean) <= alpha
    assert chance @ (high < mean) <= alpha
    assert np.all(low < table @ values / 10 + 1e-12)
    assert np.all(high > table @ values / 10 - 1e-12)
    assert chance @ (table @ np.array(values) / 10 > mean + 1e-9) > min(0.1, alpha)  # the plain mean is no bound


@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.01])
@pytest.mark.parametrize("law", [0.2, 3.0])
def test_a_simulation_that_looks_ten_times_fails_at_most_as_often_as_alpha(alpha, law) -> None:
    """Scores in 40 bins. `lower` is above the mean exactly where the wealth at the mean is enough, since it falls."""
    generator, runs = np.random.default_rng(5), 1_000
    values = generator.choice(score_bins.least_scores()[-128:], 40, replace=False)
    chances = generator.dirichlet(np.full(40, law))
    mean = float(values @ chances)
    counts = generator.multinomial(30, chances, size=(runs, 10)).cumsum(1)
    enough = [[betting._log_wealth(values, row, mean) >= -np.log(alpha) for row in looks] for looks in counts]
    failed = np.any(enough, axis=1)
    assert alpha / 100 < failed.mean()  # it is not so wide that no fault could show
    assert failed.sum() <= binom.isf(1e-6, runs, alpha)
    for look, row in zip(enough[0], counts[0], strict=True):
        assert (betting.lower(values, row, alpha) > mean) == look


@pytest.mark.parametrize(
    ("values", "counts", "alpha"),
    [
        ([0.0, 0.8, 1.0], [100, 400, 9_500], 0.001),
        ([0.3], [1000], 0.05),
        ([1 - 2**-20], [100_000], 0.001),
        ([0.0, 1.0], [1, 99_999], 0.001),
        ([0.0, 0.5, 0.999], [30_000, 1, 69_999], 1e-6),
    ],
)
def test_it_is_where_the_wealth_in_fifty_digits_is_enough_and_no_further(values, counts, alpha) -> None:
    mp.mp.dps = 50
    thetas = [mp.mpf(float(theta)) for theta in betting.THETA]
    shares = [1 / mp.mpf(j) for j in range(1, 27)]

    def wealth(mean: float) -> mp.mpf:
        parts = (
            share * mp.exp(mp.fsum(c * mp.log(1 - t + t * mp.mpf(v) / mp.mpf(mean)) for v, c in pairs))
            for share, t in zip(shares, thetas, strict=True)
            if not (t == 1 and min(values) == 0)
        )
        return mp.fsum(parts) / mp.fsum(shares)

    pairs = list(zip(values, counts, strict=True))
    found = betting.lower(values, counts, alpha)
    assert wealth(found) >= 1 / mp.mpf(alpha)
    assert wealth(found + 1e-8) < 1 / mp.mpf(alpha)


@pytest.mark.parametrize("n", [30, 1000, 100_000])
def test_on_votes_it_is_below_clopper_pearson_and_not_by_much(n) -> None:
    """By at most 1.6 times the width, and an eighth of a standard deviation of the noise where all but a few agree."""
    for k in sorted({n, n - 1, round(0.99 * n), round(0.9 * n), round(0.6 * n), 1, 0}):
        exact, found = clopper_pearson.lower(k, n, 0.001), betting.lower([0.0, 1.0], [n - k, k], 0.001)
        assert found <= exact
        assert k / n - found <= 1.6 * (k / n - exact)


def test_scores_that_vary_little_are_bounded_closer_than_votes_of_the_same_mean() -> None:
    n, mean = 10_000, 0.8
    votes = betting.lower([0.0, 1.0], [2_000, 8_000], 0.001)
    scores = betting.lower([0.75, 0.85], [5_000, 5_000], 0.001)
    assert mean - scores < (mean - votes) / 4
    assert scores > clopper_pearson.lower(8_000, n, 0.001)


def test_it_beats_the_empirical_bernstein_bound() -> None:
    generator = np.random.default_rng(3)
    for shape in ((1.0, 1.0), (0.2, 0.1), (9.0, 1.0), (0.05, 0.001)):
        values = np.sort(generator.beta(*shape, 2_000))
        ones = np.ones(len(values))
        assert betting.lower(values, ones, 0.001) > empirical_bernstein(values, ones, 0.001)


def test_order_empty_values_and_split_values_do_not_matter() -> None:
    found = betting.lower([0.0, 0.5, 1.0], [5, 40, 955], 0.01)
    assert betting.lower([1.0, 0.25, 0.5, 0.0], [955, 0, 40, 5], 0.01) == pytest.approx(found, rel=1e-12)
    assert betting.lower([0.5, 0.0, 1.0, 0.5], [30, 5, 955, 10], 0.01) == pytest.approx(found, rel=1e-12)
    assert betting.upper([0.0, 0.5, 1.0], [955, 40, 5], 0.01) == pytest.approx(1 - found, rel=1e-9)


def test_nothing_is_known_from_zeros_and_no_bound_reaches_one() -> None:
    assert betting.lower([0.0], [50], 0.01) == 0
    assert betting.upper([1.0], [50], 0.01) == 1
    assert 0.9999 < betting.lower([1.0], [10**6], 0.001) < 1


@pytest.mark.parametrize(
    ("values", "counts", "alpha", "message"),
    [
        ([1.5], [3], 0.01, "values = 1.5"),
        ([float("nan")], [3], 0.01, "values = nan"),
        ([0.5], [3.5], 0.01, "counts = 3.5"),
        ([0.5], [-1], 0.01, "counts = -1"),
        ([0.5, 0.6], [3], 0.01, "both"),
        ([0.5], [0], 0.01, "0 draws"),
        ([0.5], [3], 0.0, "alpha"),
    ],
)
def test_what_is_no_histogram_is_refused(values, counts, alpha, message) -> None:
    for bound in (betting.lower, betting.upper, empirical_bernstein):
        with pytest.raises(UserError, match=message):
            bound(values, counts, alpha)
