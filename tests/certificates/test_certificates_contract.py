"""One table over all certificates: shapes, edges, errors, order, monotonicity, units."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gambeson import certificates
from gambeson.certificates import CERTIFICATES, applicable, max_radius
from gambeson.errors import UserError
from gambeson.stats import largest_p_lower

ROWS = list(CERTIFICATES.values())
every = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def random_pairs(number=20_000):
    rng = np.random.default_rng(1)
    top = np.where(rng.uniform(size=number) < 0.7, 1 - 10 ** rng.uniform(-15, -0.3, number), rng.uniform(size=number))
    other = np.minimum(top, 1 - top) * np.where(rng.uniform(size=number) < 0.5, 1, 10 ** rng.uniform(-9, 0, number))
    return top, other


def test_the_registry_is_the_folder_s_all():
    assert sorted(CERTIFICATES) == sorted(certificates.__all__)
    for name, row in CERTIFICATES.items():
        assert row.name == name == row.radius.__name__
        assert row.radius is getattr(certificates, name)
        assert name.endswith(row.norm)
        assert row.title
        assert row.paper


def test_applicable():
    assert [row.name for row in applicable("gaussian")] == ["gaussian_l2", "renyi_l2", "dp_l2"]
    assert [row.name for row in applicable("laplace")] == ["laplace_l1", "renyi_l1", "dp_l1"]
    assert [row.name for row in applicable("uniform")] == ["uniform_l1"]
    assert [row.name for row in applicable("splitting")] == ["splitting_l1"]
    with pytest.raises(UserError, match=r"'cauchy'.*gaussian, laplace, uniform, splitting"):
        applicable("cauchy")


def test_no_torch():
    code = "import sys, gambeson.certificates, gambeson.stats; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@every
def test_p_upper_none_means_the_rest(row):
    p = np.array([0.0, 0.3, 0.5, 0.7, 0.99, 1.0])
    np.testing.assert_array_equal(row.radius(p, None, 0.5), row.radius(p, 1 - p, 0.5))
    assert row.radius(0.75, None, 0.5) == row.radius(0.75, 0.25, 0.5)


@every
def test_p_upper_is_clipped_to_the_rest(row):
    assert row.radius(0.9, 0.7, 1.0) == row.radius(0.9, None, 1.0)
    assert row.radius(0.9, 1.0, 1.0) == row.radius(0.9, None, 1.0)


@every
def test_zero_where_nothing_is_certified(row):
    for p, q in [(0.5, None), (0.3, None), (0.0, None), (0.4, 0.4), (0.3, 0.5), (0.0, 0.0), (0.5, 0.5)]:
        assert row.radius(p, q, 1.0) == 0.0


@every
def test_certainty(row):
    """Gaussian and Laplace noise at two centres share their null sets; uniform and splitting noise do not."""
    expected = 0.5 if row.noise in ("uniform", "splitting") else np.inf
    for q in (None, 0.0, 0.3):
        radius = row.radius(1.0, q, 0.5)
        assert radius <= expected
        assert radius == pytest.approx(expected, rel=1e-12)
    assert np.isfinite(row.radius(np.nextafter(1, 0), None, 0.5))


@every
def test_extremes_are_finite_and_quiet(row):
    with np.errstate(all="raise", under="ignore"):
        for p, q in [(1 - 1e-15, None), (1 - 1e-15, 1e-300), (1e-300, 1e-305), (0.9, 5e-324), (0.5 + 1e-15, None)]:
            assert 0 <= row.radius(p, q, 1.0) < np.inf
        assert row.radius(0.9, 0.0, 1.0) > row.radius(0.9, 0.01, 1.0)


@every
def test_shapes(row):
    assert isinstance(row.radius(0.9, None, 1.0), float)
    assert isinstance(row.radius(np.float64(0.9), 0.05, 1), float)
    table = row.radius(np.array([[0.9], [0.6]]), np.array([0.1, 0.05, 0.3]), 0.5)
    assert table.shape == (2, 3)
    assert table[1, 1] == pytest.approx(row.radius(0.6, 0.05, 0.5), rel=1e-12)
    assert row.radius([0.9, 0.8], None, [0.5, 1.0]).shape == (2,)
    assert row.radius(np.zeros((0, 3)), None, 0.5).shape == (0, 3)


@every
def test_keywords_of_the_issue(row):
    names = {"gaussian": "sigma", "laplace": "scale", "uniform": "half_width", "splitting": "half_width"}
    scale = names[row.noise]
    assert row.radius(p_lower=0.9, p_upper=0.05, **{scale: 0.5}) == row.radius(0.9, 0.05, 0.5)
    assert row.radius(0.9, **{scale: 0.5}) == row.radius(0.9, None, 0.5)
    with pytest.raises(UserError, match=f"^{scale} is missing"):
        row.radius(0.9)


@every
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((float("nan"), None, 1.0), "p_lower = nan"), ((1.1, None, 1.0), r"p_lower = 1\.1 .*0 to 1"),
        ((-0.1, None, 1.0), r"p_lower = -0\.1"), (("x", None, 1.0), "p_lower = 'x'"),
        ((0.9, float("nan"), 1.0), "p_upper = nan"), ((0.9, 1.5, 1.0), r"p_upper = 1\.5"),
        ((0.9, None, 0.0), r" = 0\.0 .*> 0"), ((0.9, None, -1.0), r" = -1\.0"), ((0.9, None, float("inf")), " = inf"),
        ((0.9, None, float("nan")), " = nan"), (([0.9, float("nan")], None, 1.0), "p_lower = nan"),
        (([0.9, 0.8], [0.1, 0.1, 0.1], 1.0), "shapes"),
    ],
)  # fmt: skip
def test_errors(row, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        row.radius(*arguments)
    assert isinstance(caught.value, UserError)


@pytest.mark.parametrize("noise", ["gaussian", "laplace"])
def test_no_bound_exceeds_the_tight_one(noise):
    top, other = random_pairs()
    tight, *rest = (row.radius(top, other, 0.7) for row in applicable(noise))
    for radius in rest:
        assert np.all(radius <= tight)


def test_renyi_l2_is_clearly_below_gaussian_l2_one_sided():
    p = np.linspace(0.51, 0.9999, 500)
    ratio = certificates.renyi_l2(p, None, 1.0) / certificates.gaussian_l2(p, None, 1.0)
    assert ratio.min() > 0.797
    assert ratio.max() < 0.846


def test_renyi_l1_equals_the_tight_value_one_sided():
    p = np.linspace(0.5001, 1 - 1e-12, 1000)
    np.testing.assert_allclose(certificates.renyi_l1(p, None, 1.0), certificates.laplace_l1(p, None, 1.0), rtol=1e-13)


probability = st.floats(0, 1)


@every
@settings(max_examples=50, deadline=None)
@given(p=st.tuples(probability, probability), q=st.one_of(st.none(), probability))
def test_more_on_top_is_never_worse(row, p, q):
    low, high = sorted(p)
    assert row.radius(low, q, 1.0) <= row.radius(high, q, 1.0) * (1 + 1e-8) + 1e-12


@every
@settings(max_examples=50, deadline=None)
@given(p=probability, q=st.tuples(probability, probability))
def test_less_below_is_never_worse(row, p, q):
    low, high = sorted(q)
    assert row.radius(p, high, 1.0) <= row.radius(p, low, 1.0) * (1 + 1e-8) + 1e-12


@every
@settings(max_examples=50, deadline=None)
@given(p=st.floats(0, 0.999999), q=st.floats(1e-9, 1), factor=st.floats(0.01, 100))
def test_the_unit_does_not_matter(row, p, q, factor):
    assert row.radius(p, q, 0.3 * factor) == pytest.approx(factor * row.radius(p, q, 0.3), rel=1e-12)


@every
def test_max_radius(row):
    p = largest_p_lower(1000, 0.001)
    assert max_radius(row.name, 1000, 0.001, 0.5) == row.radius(p, None, 0.5)
    assert max_radius(row.name, 1000, 0.001, 0.5, tau=1e-4) <= row.radius(p - 1e-4, None, 0.5)
    assert max_radius(row.name, 5, 0.001, 0.5) == 0.0
    assert max_radius(row.name, 10, 0.001, 0.5, tau=0.9) == 0.0


def test_max_radius_errors():
    with pytest.raises(UserError, match="'gauss' is unknown; allowed: gaussian_l2"):
        max_radius("gauss", 100, 0.001, 0.5)
    with pytest.raises(UserError, match="tau = -1"):
        max_radius("gaussian_l2", 100, 0.001, 0.5, tau=-1)
    with pytest.raises(UserError, match="alpha = "):
        max_radius("gaussian_l2", 100, 1.0, 0.5)
