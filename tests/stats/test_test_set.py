"""Theorem 6: exact failure probability in the worst case, and the published slip rejected."""

import math

import numpy as np
import pytest
from scipy import stats

from gambeson.errors import UserError
from gambeson.stats import whole_test_set


def published_slip(certified, images, alpha, rho):
    """The analysis code's form: no factor 2, no 1/(1-alpha)."""
    log_rho = math.log(1 / rho)
    return certified / images - alpha - math.sqrt(alpha * (1 - alpha) * log_rho / images) - log_rho / (3 * images)


def failure(bound, images, robust, alpha, rho):
    """P(bound > robust/images) when every robust image is certified and every other one with probability alpha."""
    false = np.arange(images - robust + 1)
    over = np.array([bound(robust + int(f), images, alpha, rho) > robust / images for f in false])
    return float(stats.binom.pmf(false, images - robust, alpha)[over].sum())


@pytest.mark.parametrize("images", [20, 500])
@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
@pytest.mark.parametrize("rho", [0.001, 0.1])
def test_fails_at_most_rho_in_the_worst_case(images, alpha, rho):
    for robust in {0, images // 4, images // 2, images - 2}:
        assert failure(whole_test_set, images, robust, alpha, rho) <= rho


def test_the_check_rejects_the_published_slip():
    assert failure(published_slip, 10_000, 0, 0.3, 0.01) > 0.01


def test_value_of_the_theorem():
    y, m, a, r = 350, 500, 0.001, 0.001
    exact = (y / m - a - math.sqrt(2 * a * (1 - a) * math.log(1 / r) / m) - math.log(1 / r) / (3 * m)) / (1 - a)
    assert whole_test_set(y, m, a, r) == pytest.approx(exact, abs=2e-12)
    assert whole_test_set(y, m, a, r) <= exact


def test_never_negative():
    assert whole_test_set(0, 500, 0.001, 0.001) == 0.0


@pytest.mark.parametrize("bad", [(501, 500, 0.1, 0.1), (1, 0, 0.1, 0.1), (1, 10, 0.0, 0.1), (1, 10, 0.1, 1.0)])
def test_bad_arguments(bad):
    with pytest.raises(UserError, match="allowed"):
        whole_test_set(*bad)
