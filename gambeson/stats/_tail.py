"""The logarithm of the binomial tail with a bound on its own rounding error.

Why not scipy.special.betainc: it has no error bound, and in SciPy 1.11 its relative error reaches 1 at n = 10^5. Here
every step is a sum or a product whose rounding is counted, so the answer does not depend on the SciPy version.
"""

import numpy as np
from scipy import special

from ._counts import Floats

EPS = float(np.finfo(np.float64).eps)
MOST_STEPS = 100_000  # 10^9 draws need about 10^4


def _stirling_error(n: Floats) -> Floats:
    """log n! - log( sqrt(2 pi n) (n/e)^n ), to about 1e-14 absolutely (n >= 1)."""
    small = np.minimum(n, 16.0)
    exact = special.gammaln(small + 1) - (small + 0.5) * np.log(small) + small - 0.5 * np.log(2 * np.pi)
    large = np.maximum(n, 16.0)
    series = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * large**2)) / large**2) / large**2) / large
    return np.where(n < 16, exact, series)


def _fraction(a: Floats, b: Floats, x: Floats) -> tuple[Floats, Floats]:
    """Continued fraction h of I_x(a, b) = x^a (1-x)^b h / (a B(a, b)), x < (a+1)/(a+b+2), and each row's steps."""
    out = np.full_like(x, np.nan)  # what does not converge proves nothing
    steps = np.zeros_like(x)
    todo = np.arange(x.size)
    c: Floats = np.ones_like(x)
    d = 1 / (1 - (a + b) * x / (a + 1))
    h = d.copy()
    m = 0
    while todo.size and m < MOST_STEPS:
        m += 1
        even = m * (b - m) * x / ((a - 1 + 2 * m) * (a + 2 * m))
        d = 1 / (1 + even * d)
        c = 1 + even / c
        h = h * d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 1 + 2 * m))
        d = 1 / (1 + odd * d)
        c = 1 + odd / c
        h = h * d * c
        # Shrinking the arrays costs more than a step: do it every fourth time.
        if m % 4 == 0:
            done = np.abs(d * c - 1) < 4 * EPS
            out[todo[done]], steps[todo[done]] = h[done], m
            keep = ~done
            todo = todo[keep]
            a, b, x, c, d, h = (v[keep] for v in (a, b, x, c, d, h))
    return out, steps


def log_point(k: Floats, n: Floats, p: Floats) -> tuple[Floats, Floats]:
    """log P(X = k) for X ~ Binomial(n, p), 0 <= k <= n, 0 < p < 1 (1-D arrays), and a bound on its absolute error.

    By Stirling's series and the relative entropy of k / n from p.
    """
    rest = n - k
    some, other = np.maximum(k, 1.0), np.maximum(rest, 1.0)
    near = np.where(k > 0, k * np.log(n * p / some), 0.0)
    far = np.where(rest > 0, rest * np.log(n * (1 - p) / other), 0.0)
    inner = _stirling_error(n) - _stirling_error(some) - _stirling_error(other)
    inner = inner + 0.5 * np.log(n / (2 * np.pi * some * other))
    value = near + far + np.where((k > 0) & (rest > 0), inner, 0.0)
    return value, 4 * EPS * (n + np.abs(near) + np.abs(far) + 100)


def log_tail(k: Floats, n: Floats, p: Floats) -> tuple[Floats, Floats]:
    """log P(X >= k) for X ~ Binomial(n, p), 1 <= k <= n, 0 < p < 1 (1-D arrays), and a bound on its absolute error.

    P(X >= k) = I_p(k, n-k+1) = P(X = k) (1-p) h, with the point probability by Stirling and relative entropy.
    """
    q = 1 - p
    rest = n - k
    point, error = log_point(k, n, p)
    a, b = k, rest + 1
    # Past the mean the complement converges faster; where all are hits the tail is p^n.
    upper = (p > (a + 1) / (a + b + 2)) & (rest > 0)
    h, steps = _fraction(np.where(upper, b, a), np.where(upper, a, b), np.where(upper, q, p))
    log_part = np.where(rest > 0, point + np.log(q * h) + np.where(upper, np.log(a / b), 0.0), point)
    error = error + 4 * EPS * steps
    # d log(1 - e^u) / du = -e^u / (1 - e^u): so much the complement's error grows (1 % for what is of second order).
    part = np.where(upper, log_part, -1.0)
    grown = np.maximum(1.0, 1.01 * np.exp(part) / -np.expm1(part))
    return np.where(upper, np.log1p(-np.exp(part)), log_part), error * grown
