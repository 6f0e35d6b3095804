"""The two-sided radius, over every count vector of a small n: it exceeds the true radius no more often than alpha."""

from itertools import product

import numpy as np
import pytest
from halfspaces import halfspace
from scipy.stats import multinomial, norm

from gambeson.certificates import gaussian_l2
from gambeson.stats import lower, upper

DRAWS, ALPHA, SIGMA = 24, 0.1, 0.25
TABLES = np.array([(a, b, DRAWS - a - b) for a, b in product(range(DRAWS + 1), repeat=2) if a + b <= DRAWS])
# Shares of the selected class, the runner-up and the rest: selected ahead, level, behind.
SHARES = [(a, b, 1 - a - b) for a in (0.2, 0.35, 0.4, 0.5, 0.6, 0.8, 0.95) for b in (0.03, 0.2, 0.35, 0.5) if a + b < 1]


def radii():
    """The two-sided radius of every count vector, class 0 selected: by the code that certifies."""
    smoothed = halfspace("gaussian:0.25")
    found = [smoothed.bounds(table, 0, DRAWS, ALPHA, 16) for table in TABLES]
    return np.array([smoothed.radii(bounds)["gaussian_l2_two_sided"] for bounds in found])


def worst_failure(claimed):
    """The largest probability, over all shares, of claiming more than the radius of those shares, which is tight."""
    chances = []
    for shares in SHARES:
        second = max(shares[1:])
        true = SIGMA / 2 * (norm.ppf(shares[0]) - norm.ppf(second))
        chances.append(multinomial.pmf(TABLES, DRAWS, shares)[claimed > max(true, 0.0)].sum())
    return max(chances)


@pytest.mark.usefixtures("tight_only")
def test_the_two_sided_radius_holds_over_every_count():
    claimed = radii()
    assert (claimed > 0).sum() > 40
    assert 0.01 < worst_failure(claimed) <= ALPHA


def test_it_is_the_one_radius_of_the_split_pair():
    smoothed = halfspace("gaussian:0.25")
    for table in TABLES[::37]:
        bounds, tau = smoothed.bounds(table, 0, DRAWS, ALPHA, 16), smoothed.tau(16)
        assert bounds.lower == pytest.approx(max(0, lower(int(table[0]), DRAWS, ALPHA / 2) - tau), abs=1e-12)
        rest = upper(int(table[1:].max()), DRAWS, ALPHA / 4) + tau  # alpha/2 over two other classes
        assert bounds.upper == pytest.approx(min(rest, 1 - bounds.lower), abs=1e-12)
        pair = gaussian_l2(bounds.lower, bounds.upper, SIGMA)
        assert smoothed.radii(bounds)["gaussian_l2_two_sided"] == pair


WRONG = {
    "the frequency for its bound": lambda k, rest: (lower(k, DRAWS, ALPHA / 2), rest.max(1) / DRAWS),
    "a class chosen beforehand": lambda k, rest: (lower(k, DRAWS, ALPHA / 2), upper(rest[:, 0], DRAWS, ALPHA / 2)),
    "alpha doubled": lambda k, rest: (lower(k, DRAWS, 2 * ALPHA), upper(rest.max(1), DRAWS, 2 * ALPHA)),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_enumeration_rejects(name):
    assert worst_failure(gaussian_l2(*WRONG[name](TABLES[:, 0], TABLES[:, 1:]), SIGMA)) > ALPHA
