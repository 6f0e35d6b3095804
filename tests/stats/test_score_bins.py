"""The grid of scores: what rounding may cost, and that its bounds hold what they count."""

import numpy as np

from gambeson.stats import score_bins


def test_the_grid_is_exact_and_increases_from_two_to_the_minus_twenty_to_one() -> None:
    misses = score_bins.largest_misses()
    assert (misses[0], misses[-1], len(misses)) == (2.0**-20, 1.0, score_bins.BINS)
    assert np.all(np.diff(misses) > 0)
    assert np.array_equal(misses * 2**26, np.round(misses * 2**26))  # whole numbers: no rounding in 1 - miss
    assert np.array_equal(1 - score_bins.least_scores(), misses)


def test_rounding_down_costs_at_most_a_thirty_second_of_the_miss() -> None:
    scores = 1 - np.random.default_rng(0).random(10_000) * 2.0 ** -np.random.default_rng(1).integers(0, 20, 10_000)
    places = np.searchsorted(score_bins.largest_misses(), 1 - scores)
    lost = scores - score_bins.least_scores()[places]
    assert np.all(lost >= 0)
    assert np.all(lost <= np.maximum((1 - scores) / score_bins.STEPS, 2.0**-score_bins.OCTAVES))
    assert np.all(score_bins.largest_scores()[places] >= scores)


def test_bins_follow_each_other() -> None:
    low, high = score_bins.least_scores(), score_bins.largest_scores()
    assert high[0] == 1
    assert low[-1] == 0
    assert np.all(high[1:] >= low[:-1])
    assert np.all(high[1:] - low[:-1] < 1e-8)
