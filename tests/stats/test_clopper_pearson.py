"""Clopper-Pearson: exact tails in 45 digits, exact coverage over every count, and detectors that fire."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from statsmodels.stats.proportion import proportion_confint

from gambeson.errors import UserError
from gambeson.stats import lower, two_sided, upper
from gambeson.stats._tail import log_tail


def triples(number):
    """(k, n, alpha) over all orders of magnitude: unanimous, nearly so, rare, and in the middle."""
    rng = np.random.default_rng(2)
    n = np.floor(10 ** rng.uniform(0, 7, number)).astype(int)
    k = np.choose(
        rng.integers(0, 5, number),
        [n, n - np.floor(10 ** rng.uniform(0, np.log10(n))), np.floor(n * rng.uniform(0, 1, number)),
         np.floor(10 ** rng.uniform(0, np.log10(n))), np.ceil(n / 2)],
    ).astype(int)  # fmt: skip
    alpha = np.where(rng.uniform(size=number) < 0.3, 0.001, 10 ** rng.uniform(-12, -0.01, number))
    return np.clip(k, 0, n), n, alpha


def check(number, tail):
    k, n, alpha = triples(number)
    bounds = lower(k, n, alpha)
    low, high = mp.mpf(1) - mp.mpf(10) ** -10, mp.mpf(1)
    for kk, nn, aa, p in zip(k.tolist(), n.tolist(), alpha.tolist(), bounds.tolist(), strict=True):
        if kk == 0:
            assert p == 0
            continue
        assert tail(kk, nn, p) <= mp.mpf(aa) * low, (kk, nn, aa)
        # Tight: what was given away is within rounding of alpha, or one float up is unsound.
        slack = 2e-9 + 4e-15 * nn * (1 + abs(np.log(p)))
        assert tail(kk, nn, p) >= mp.mpf(aa) * (high - slack) or tail(kk, nn, np.nextafter(p, 1)) > mp.mpf(aa) * low
    uppers = upper(k, n, alpha)
    for kk, nn, aa, p in list(zip(k.tolist(), n.tolist(), alpha.tolist(), uppers.tolist(), strict=True))[::4]:
        if kk == nn:
            assert p == 1
            continue
        below = 1 - tail(kk + 1, nn, p) if nn < 100 else tail(nn - kk, nn, 1 - mp.mpf(p))
        assert below <= mp.mpf(aa) * low, (kk, nn, aa)


def test_sound_and_tight_on_1000_triples(tail):
    check(1000, tail)


@pytest.mark.long
def test_sound_and_tight_on_10000_triples(tail):
    check(10_000, tail)


def test_the_tail_s_error_bound_holds(tail):
    k, n, alpha = triples(300)
    k = np.maximum(k, 1)
    p = np.clip(lower(k, n, alpha) * np.random.default_rng(0).uniform(0.9, 1.1, 300), 1e-12, 1 - 1e-12)
    value, error = log_tail(*(v.astype(float) for v in (k, n, p)))
    for kk, nn, pp, v, e in zip(k, n, p, value, error, strict=True):
        if v > -600:
            assert abs(mp.mpf(float(v)) - mp.log(tail(kk, nn, float(pp)))) <= float(e), (kk, nn, pp)


def test_a_library_answer_is_not_sound_to_the_last_bit(tail):
    """Why we step outward. The reference tells betaincinv and SciPy's answer apart from ours."""
    p = float(special.betaincinv(60_000, 40_001, 0.001))
    rows = [(60_000, 100_000), (99_000, 100_000), (99, 100), (99_990, 100_000), (999_999, 1_000_000)]
    assert any(tail(k, n, float(special.betaincinv(k, n - k + 1, 0.001))) > mp.mpf(0.001) for k, n in rows)
    assert abs(lower(60_000, 100_000, 0.001) - p) < 1e-9
    assert lower(60_000, 100_000, 0.001) < p


@pytest.mark.parametrize("n", [1, 10, 100, 1000, 100_000, 10**7])
@pytest.mark.parametrize("alpha", [0.05, 0.001, 1e-9])
def test_unanimous_draws_give_alpha_to_the_one_over_n(n, alpha):
    exact = mp.mpf(alpha) ** (mp.mpf(1) / n)
    assert lower(n, n, alpha) <= exact
    assert lower(n, n, alpha) == pytest.approx(float(exact), rel=2e-9, abs=0)
    assert upper(0, n, alpha) >= 1 - exact
    assert upper(0, n, alpha) == pytest.approx(float(1 - exact), rel=1e-7, abs=0)


@pytest.mark.parametrize("n", [1, 2, 7, 40, 100, 333])
@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.001])
def test_coverage_summed_over_every_count(n, alpha, miss_rate):
    p_grid = np.concatenate([np.linspace(0.001, 0.999, 97), lower(np.arange(1, n + 1), n, alpha) * (1 - 1e-12)])
    assert max(miss_rate(lower, n, alpha, p) for p in p_grid[:200]) <= alpha * (1 + 1e-12)


def wald(k, n, alpha):
    share = k / n
    return share + special.ndtri(alpha) * np.sqrt(share * (1 - share) / n)


@pytest.mark.parametrize("unsound", [wald, lambda k, n, alpha: lower(k, n, 2 * alpha)], ids=["wald", "doubled alpha"])
def test_the_coverage_check_rejects(unsound, miss_rate):
    n, alpha = 100, 0.001
    p_grid = np.concatenate([np.linspace(0.001, 0.999, 97), lower(np.arange(1, n + 1), n, 2 * alpha) * (1 - 1e-9)])
    assert max(miss_rate(unsound, n, alpha, p) for p in p_grid) > 1.5 * alpha


def test_choosing_the_class_on_the_same_draws_breaks_coverage():
    """Mutant: the winner is bounded on the very draws that made it win. Two classes at 1/2: misses twice as often."""
    n, alpha = 101, 0.05
    k = np.arange(n + 1)
    chance = special.binom(n, k) * 0.5**n
    missed = lower(np.maximum(k, n - k), n, alpha) > 0.5
    honest = lower(k, n, alpha) > 0.5
    assert chance[honest].sum() <= alpha < chance[missed].sum()


def test_two_sided_matches_statsmodels():
    k, n = np.meshgrid(np.array([0, 1, 5, 250, 499, 500]), np.array([500]))
    ours = two_sided(k, n, 0.05)
    theirs = proportion_confint(k.ravel(), 500, 0.05, method="beta")
    np.testing.assert_allclose(np.ravel(ours[0]), np.nan_to_num(theirs[0]), rtol=1e-8)
    np.testing.assert_allclose(np.ravel(ours[1]), theirs[1], rtol=1e-8)


@settings(deadline=None)
@given(st.integers(1, 5000), st.data(), st.floats(1e-9, 0.4))
def test_order(n, data, alpha):
    k = data.draw(st.integers(0, n))
    assert 0 <= lower(k, n, alpha) <= k / n <= upper(k, n, alpha) <= 1
    # Each answer gives away up to 1e-9 of alpha, so neighbours are compared with that much room.
    assert lower(k, n, alpha) <= lower(k, n, min(alpha * 1.01, 0.9))
    if k < n:
        assert lower(k, n, alpha) < lower(k + 1, n, alpha)
        assert upper(k, n, alpha) < upper(k + 1, n, alpha)


def test_arrays_and_scalars_agree():
    k = np.array([[0, 1, 50], [99, 100, 7]])
    assert isinstance(lower(5, 10, 0.05), float)
    assert isinstance(upper(5, 10, 0.05), float)
    table = lower(k, 100, 0.001)
    assert table.shape == k.shape
    assert all(table[i, j] == lower(int(k[i, j]), 100, 0.001) for i in range(2) for j in range(3))
    assert lower(k[:, :1], 100, np.array([0.1, 0.01])).shape == (2, 2)
    assert lower(np.array([], dtype=int), 100, 0.001).shape == (0,)


def test_a_row_s_bound_does_not_depend_on_the_other_rows():
    rng = np.random.default_rng(4)
    n = np.floor(10 ** rng.uniform(0, 9, 300))
    k = np.floor(n * rng.uniform(0, 1, 300))
    together = lower(k, n, 0.001)
    assert all(together[i] == lower(k[i], n[i], 0.001) for i in range(300))


@pytest.mark.parametrize(
    ("k", "n", "alpha", "names"),
    [(-1, 10, 0.1, "k"), (11, 10, 0.1, "k"), (1.5, 10, 0.1, "k"), (float("nan"), 10, 0.1, "k"), ("x", 10, 0.1, "k"),
     (0, 0, 0.1, "n"), (1, 2.5, 0.1, "n"), (1, 10**10, 0.1, "n"), (1, float("inf"), 0.1, "n"),
     (1, 10, 0.0, "alpha"), (1, 10, 1.0, "alpha"), (1, 10, float("nan"), "alpha"), (1, 10, -0.1, "alpha"),
     (1, 10, None, "alpha")],
)  # fmt: skip
@pytest.mark.parametrize("bound", [lower, upper, two_sided])
def test_bad_arguments_are_named(bound, k, n, alpha, names):
    with pytest.raises(UserError, match=rf"^{names} = .*allowed"):
        bound(k, n, alpha)
