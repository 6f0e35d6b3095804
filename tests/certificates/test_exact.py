"""Rounded down: never above the value in 40 digits, and within 1e-6 of it."""

import mpmath as mp
import numpy as np
import pytest

from gambeson.certificates import dp_l1, dp_l2, gaussian_l2, laplace_l1, renyi_l1, renyi_l2, splitting_l1, uniform_l1

mp.mp.dps = 40


def pairs(number, seed=3):
    """(p_lower, p_upper) with p_upper < p_lower, p_lower + p_upper <= 1, over all orders of magnitude."""
    rng = np.random.default_rng(seed)
    top = np.where(rng.uniform(size=number) < 0.6, 1 - 10 ** rng.uniform(-15, -0.31, number), rng.uniform(0, 1, number))
    share = np.choose(
        rng.integers(0, 4, number),
        [np.ones(number), 10 ** rng.uniform(-12, 0, number), 1 - 10 ** rng.uniform(-7, 0, number), np.zeros(number)],
    )
    other = np.minimum(top, 1 - top) * share
    keep = (other < top) & (top < 1) & ((other > 0) | (rng.uniform(size=number) < 0.3))
    return top[keep], other[keep]


def quantile(p):
    z = mp.sqrt(2) * mp.erfinv(2 * p - 1) if 0.01 < p < 0.99 else mp.mpf(-1 if p < 0.5 else 1) * 6
    for _ in range(200):
        tail = mp.erfc(-z / mp.sqrt(2)) / 2
        # Newton on log Phi (left half) or on log(1 - Phi) (right half): both are concave, so it cannot run away.
        if p < 0.5:
            step = (mp.log(tail) - mp.log(p)) * tail / mp.npdf(z)
        else:
            rest = mp.erfc(z / mp.sqrt(2)) / 2
            step = -(mp.log(rest) - mp.log(1 - p)) * rest / mp.npdf(z)
        z -= step
        if abs(step) < mp.mpf(10) ** -30:
            return z
    raise ArithmeticError


def laplace_quantile(p):
    return mp.log(2 * p) if p < 0.5 else -mp.log(2 * (1 - p))


CLOSED = {
    gaussian_l2: lambda p, q: (quantile(p) - quantile(q)) / 2,
    laplace_l1: lambda p, q: (laplace_quantile(p) - laplace_quantile(q)) / 2,
    dp_l1: lambda p, q: mp.log(p / q) / 2,
    uniform_l1: lambda p, q: p - q,
    splitting_l1: lambda p, q: p - q,
}


@pytest.mark.parametrize("certificate", CLOSED, ids=lambda f: f.__name__)
def test_closed_forms(certificate):
    top, other = pairs(400)
    for p, q, radius in zip(top, other, certificate(top, other, 1.0), strict=True):
        if q == 0 and certificate not in (uniform_l1, splitting_l1):
            assert radius == np.inf
            continue
        exact = CLOSED[certificate](mp.mpf(float(p)), mp.mpf(float(q)))
        assert radius <= exact
        assert radius >= exact * (1 - mp.mpf(10) ** -12) - mp.mpf(10) ** -14, (p, q)


def highest(f, low, high, points=40, steps=45):
    """sup of f on [low, high]: grid, then golden section, in mpmath."""
    xs = [low + (high - low) * i / points for i in range(points + 1)]
    values = [f(x) for x in xs]
    best = max(range(points + 1), key=lambda i: values[i])
    a, b = xs[max(best - 1, 0)], xs[min(best + 1, points)]
    ratio = (mp.sqrt(5) - 1) / 2
    for _ in range(steps):
        left, right = b - ratio * (b - a), a + ratio * (b - a)
        if f(left) < f(right):
            a = left
        else:
            b = right
    return max(values[best], f((a + b) / 2))


def power_mean(t, p, q):
    return ((p**t + q**t) / 2) ** (1 / t) if q > 0 else mp.mpf(0)


def tau(a, p, q):
    return -mp.log(1 - p - q + 2 * power_mean(1 - a, p, q))


def exact_renyi_l2(p, q):
    def radius(u):
        return mp.sqrt(2 * tau(1 + mp.exp(u), p, q) / (1 + mp.exp(u)))

    return highest(radius, mp.mpf(-21), mp.mpf(7))


def laplace_divergence(a, d):
    ends = a * mp.exp((a - 1) * d) + (a - 1) * mp.exp(-a * d)
    return mp.log(ends / (2 * a - 1)) / (a - 1)


def exact_renyi_l1(p, q):
    def shift(u):
        a = 1 + mp.exp(u)
        needed = tau(a, p, q)
        low, high = mp.mpf(0), needed + 2
        for _ in range(75):
            middle = (low + high) / 2
            low, high = (middle, high) if laplace_divergence(a, middle) <= needed else (low, middle)
        return low

    return max(highest(shift, mp.mpf(-21), mp.mpf(14), 28), -mp.log(1 - p + q))


def exact_dp_l2(p, q):
    most = min(mp.mpf(1), mp.log(p / q) / 2) if q > 0 else mp.mpf(1)

    def radius(share):
        beta = share * most
        gap = p - mp.exp(2 * beta) * q
        return beta / mp.sqrt(2 * mp.log(1.25 * (1 + mp.exp(beta)) / gap)) if gap > 0 and beta > 0 else mp.mpf(0)

    return highest(radius, mp.mpf(0), mp.mpf(1))


@pytest.mark.parametrize(
    ("certificate", "exact", "number"),
    [(renyi_l2, exact_renyi_l2, 60), (renyi_l1, exact_renyi_l1, 10), (dp_l2, exact_dp_l2, 60)],
    ids=["renyi_l2", "renyi_l1", "dp_l2"],
)
def test_optimised_forms(certificate, exact, number):
    """Not above the value at an order or share that is exhibited: rounded down for certain."""
    top, other = pairs(number)
    for p, q, radius in zip(top, other, certificate(top, other, 1.0), strict=True):
        value = exact(mp.mpf(float(p)), mp.mpf(float(q)))
        assert radius <= value, (p, q)
        assert radius >= value * (1 - mp.mpf(10) ** -6) - mp.mpf(10) ** -9, (p, q)


def test_renyi_against_a_dense_scan_of_the_order():
    """Float64 scan over 4,000 orders: the search misses no second maximum."""
    top, other = pairs(250, seed=5)
    top, other = top[other > 0], other[other > 0]
    tried = 0
    excess = np.logspace(-3, 6, 4001)
    for p, q, l2, l1 in zip(top, other, renyi_l2(top, other, 1.0), renyi_l1(top, other, 1.0), strict=True):
        r = np.log(p) - np.log(q)
        log_mean = np.log(q) - (np.log1p(np.exp(-excess * r)) - np.log(2)) / excess
        needed = -np.log((1 - p - q) + 2 * np.exp(log_mean))
        if needed.min() < 1e-5:
            continue  # the plain formula above loses its digits
        tried += 1
        assert l2 >= np.sqrt(2 * needed / (1 + excess)).max() * (1 - 1e-6)
        low, high = np.zeros_like(needed), needed + 2
        for _ in range(50):
            middle = (low + high) / 2
            a = 1 + excess
            value = middle + np.log(a / (2 * a - 1) + excess / (2 * a - 1) * np.exp(-(2 * a - 1) * middle)) / excess
            low, high = np.where(value <= needed, middle, low), np.where(value <= needed, high, middle)
        assert l1 >= low.max() * (1 - 1e-6) - 1e-9
    assert tried > 80
