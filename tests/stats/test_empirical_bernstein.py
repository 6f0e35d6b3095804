"""Maurer and Pontil's bound: its formula on a list of draws, and its coverage over every outcome."""

import math
from itertools import product

import numpy as np
import pytest

from gambeson.stats import empirical_bernstein


def test_it_is_the_formula_on_the_list_of_draws() -> None:
    draws = np.repeat([0.1, 0.4, 0.95], [30, 50, 420])
    log_2 = math.log(2 / 0.01)
    spread = math.sqrt(2 * draws.var(ddof=1) * log_2 / 500) + 7 * log_2 / (3 * 499)
    found = empirical_bernstein([0.1, 0.4, 0.95], [30, 50, 420], 0.01)
    assert found == pytest.approx(draws.mean() - spread, abs=1e-11)
    assert found < draws.mean() - spread


@pytest.mark.parametrize("alpha", [0.5, 0.9])
@pytest.mark.parametrize("p", [0.2, 0.5, 0.95])
def test_it_fails_at_most_as_often_as_alpha_over_every_outcome(alpha, p) -> None:
    """At small n it is 0 unless alpha is large."""
    failing = 0.0
    for drawn in product([0, 1], repeat=12):
        hits = sum(drawn)
        if empirical_bernstein([0.0, 1.0], [12 - hits, hits], alpha) > p:
            failing += p**hits * (1 - p) ** (12 - hits)
    assert failing <= alpha


def test_one_draw_says_nothing() -> None:
    assert empirical_bernstein([1.0], [1], 0.1) == 0
