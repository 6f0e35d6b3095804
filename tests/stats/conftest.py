"""Exact binomial tails for the tests: mpmath for a few points, every count for coverage."""

import mpmath as mp
import numpy as np
import pytest
from scipy import stats

mp.mp.dps = 45


def _fraction(a, b, x):
    """Continued fraction of the incomplete beta function (DLMF 8.17.22) in 45 digits; mpmath's own series needs
    seconds at n = 10^6."""
    c, d = mp.mpf(1), 1 / (1 - (a + b) * x / (a + 1))
    h, m, change = d, 0, mp.mpf(2)
    while abs(change - 1) > mp.mpf(10) ** -35:
        m += 1
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / (1 + term * d), 1 + term / c
            change = d * c
            h *= change
    return h


def _incomplete_beta(a, b, x):
    front = mp.loggamma(a + b) - mp.loggamma(a) - mp.loggamma(b) + a * mp.log(x) + b * mp.log(1 - x)
    return mp.exp(front) / a * _fraction(a, b, x)


def _tail(k, n, p):
    """P(X >= k), X ~ Binomial(n, p), with p taken as the exact number it is."""
    p = mp.mpf(p)
    if k == 0 or p == 1:
        return mp.mpf(1)
    if p == 0:
        return mp.mpf(0)
    a, b = mp.mpf(int(k)), mp.mpf(int(n - k + 1))
    return _incomplete_beta(a, b, p) if p < (a + 1) / (a + b + 2) else 1 - _incomplete_beta(b, a, 1 - p)


def _miss_rate(bound, n, alpha, p):
    """P(bound(X) > p) for a lower bound, summed over every count 0..n."""
    k = np.arange(n + 1)
    too_high = np.asarray(bound(k, n, alpha)) > p
    return float(stats.binom.pmf(k, n, p)[too_high].sum())


@pytest.fixture(scope="session")
def tail():
    return _tail


@pytest.fixture(scope="session")
def miss_rate():
    return _miss_rate
