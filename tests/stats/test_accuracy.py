"""An accuracy with its interval."""

import pytest
from statsmodels.stats.proportion import proportion_confint

from gambeson.errors import UserError
from gambeson.stats import accuracy


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (250, 500), (453, 500)])
def test_matches_statsmodels(k, n):
    result = accuracy(k, n)
    low, high = proportion_confint(k, n, method="beta")
    assert result.value == k / n
    assert result.lower == pytest.approx(low if k else 0.0, rel=1e-8)
    assert result.upper == pytest.approx(high if k < n else 1.0, rel=1e-8)


def test_500_images_are_4_4_points():
    result = accuracy(250, 500)
    assert result.upper - result.value == pytest.approx(0.0447, abs=0.0005)


def test_bad_counts():
    with pytest.raises(UserError, match="k = 11"):
        accuracy(11, 10)
