"""Every certificate against the worst classifier there is, with known answers; wrong formulas are shown to fail."""

import numpy as np
import pytest
from scipy import stats

from gambeson.certificates import CERTIFICATES, applicable, gaussian_l2, laplace_l1, splitting_l1, uniform_l1

# One value's random threshold is all there is of splitting noise in one dimension: what a shift passes over, it takes
# from the top class, as from the end of the uniform noise's interval.
NOISE = {"gaussian": stats.norm(), "laplace": stats.laplace(), "uniform": stats.uniform(-1, 2)}
NOISE["splitting"] = NOISE["uniform"]
TIGHT = {"gaussian": gaussian_l2, "laplace": laplace_l1, "uniform": uniform_l1, "splitting": splitting_l1}
PAIRS = [
    (0.6, 0.4),
    (0.9, 0.1),
    (0.99, 0.01),
    (0.9, 0.05),
    (0.5, 0.3),
    (0.4, 0.2),
    (0.45, 0.05),
    (0.8, 1e-4),
    (0.3, 0.29),
]


def lead(noise, p_lower, p_upper, shift):
    """Top minus other at x + shift for the worst 1-D classifier: top on the far left, other on the far right.

    Its probabilities at x are exactly p_lower and p_upper; what lies between counts for a third class.
    """
    d = NOISE[noise]
    return d.cdf(d.ppf(p_lower) - shift) - d.sf(d.isf(p_upper) - shift)


@pytest.mark.parametrize("row", CERTIFICATES.values(), ids=lambda row: row.name)
@pytest.mark.parametrize(("p_lower", "p_upper"), PAIRS)
def test_nothing_inside_the_radius_is_broken(row, p_lower, p_upper):
    radius = row.radius(p_lower, p_upper, 1.0)
    assert radius > 0
    assert lead(row.noise, p_lower, p_upper, radius * (1 - 1e-9)) > 0


@pytest.mark.parametrize("noise", TIGHT)
@pytest.mark.parametrize(("p_lower", "p_upper"), PAIRS)
def test_the_tight_ones_break_just_outside(noise, p_lower, p_upper):
    assert lead(noise, p_lower, p_upper, TIGHT[noise](p_lower, p_upper, 1.0) * (1 + 1e-6)) < 0


def printed_in_the_rebuttal(p_lower, p_upper, scale):
    """The Laplace radius as printed: ||x - x'||_1 taken out of the exponents, so that it divides tau(a)."""
    a = 1 + np.logspace(-6, 4, 20_001)
    mean = np.exp(np.log(p_upper) - (np.log1p(np.exp((a - 1) * np.log(p_upper / p_lower))) - np.log(2)) / (a - 1))
    tau = -np.log(1 - p_lower - p_upper + 2 * mean)
    per_unit = 1 / scale + np.log(a / (2 * a - 1) + (a - 1) / (2 * a - 1) * np.exp(-(2 * a - 1) / scale)) / (a - 1)
    return (tau / per_unit).max()


def test_the_rebuttal_s_laplace_formula_is_unsound():
    # The formula is the one meant: its published values.
    for p, radius in [(0.8, 0.91629), (0.9, 1.69988), (0.99, 5.32526), (0.999, 9.54080)]:
        assert printed_in_the_rebuttal(p, 1 - p, 1.0) == pytest.approx(radius, abs=1e-4)
    for p in (0.9, 0.99, 0.999):
        # A real classifier flips well inside what it certifies ...
        assert lead("laplace", p, 1 - p, 0.97 * printed_in_the_rebuttal(p, 1 - p, 1.0)) < 0
        # ... and inside what ours certify it does not.
        for row in applicable("laplace"):
            assert lead("laplace", p, 1 - p, row.radius(p, None, 1.0) * (1 - 1e-9)) > 0


def test_the_rebuttal_s_laplace_formula_depends_on_the_unit():
    values = [printed_in_the_rebuttal(0.99, 0.01, b) / b for b in (0.05, 1.0, 5.0)]
    assert values == pytest.approx([3.912, 5.325, 19.50], rel=2e-3)


WRONG = {
    "gaussian without the half": ("gaussian", lambda p, q: 2 * gaussian_l2(p, q, 1.0)),
    "gaussian one-sided at p_upper": ("gaussian", lambda p, q: gaussian_l2(1 - q, None, 1.0)),
    "laplace one-sided at p_upper": ("laplace", lambda p, q: laplace_l1(1 - q, None, 1.0)),
    "uniform without the half": ("uniform", lambda p, q: 2 * uniform_l1(p, q, 1.0)),
    "uniform infinite at 1": ("uniform", lambda p, q: 1.5 * uniform_l1(1.0, None, 1.0)),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_worst_classifier_rejects(name):
    noise, radius = WRONG[name]
    assert lead(noise, 0.9, 0.05, radius(0.9, 0.05) * (1 - 1e-9)) < 0


@pytest.mark.parametrize("dimension", [1, 3, 784])
@pytest.mark.parametrize("sigma", [0.12, 0.25, 1.0])
def test_linear_classifier_s_radius_is_its_distance(dimension, sigma):
    """A half-space under Gaussian noise: the smoothed class changes exactly at the plane."""
    rng = np.random.default_rng(dimension)
    w, x = rng.normal(size=dimension), rng.uniform(size=dimension)
    distance = 2.1 * sigma
    bias = distance * np.linalg.norm(w) - w @ x
    p = stats.norm.cdf((w @ x + bias) / (sigma * np.linalg.norm(w)))
    assert gaussian_l2(p, None, sigma) == pytest.approx(distance, rel=1e-12)


@pytest.mark.parametrize(("noise", "distance"), [("laplace", 1.7), ("uniform", 0.7)])
def test_threshold_s_radius_is_its_distance(noise, distance):
    p = NOISE[noise].cdf(distance)
    assert TIGHT[noise](p, None, 1.0) == pytest.approx(distance, rel=1e-12)


def worst_on_cells(half, top, other, shift):
    """Uniform noise on a square of 2 half x 2 half cells, the worst classifier for this shift, exactly in integers.

    Top holds `top` cells, first those that the shift leaves behind; other holds `other`, first those that it keeps, and
    everything outside. Returns the two counts after the shift.
    """
    width = 2 * half
    kept = max(width - abs(shift[0]), 0) * max(width - abs(shift[1]), 0)
    left = width * width - kept
    top_kept = max(top - left, 0)
    other_kept = min(other, kept - top_kept)
    return top_kept, other_kept + left  # as many new cells enter as leave


@pytest.mark.parametrize("half", [2, 5])
def test_uniform_in_two_dimensions_over_every_shift_and_count(half):
    cells = (2 * half) ** 2
    shifts = [(i, j) for i in range(2 * half + 1) for j in range(2 * half + 1)]
    broken_by_double = 0
    for top in range(1, cells + 1):
        for other in range(0, min(top, cells - top + 1)):
            radius = uniform_l1(top / cells, other / cells, float(half))
            for shift in shifts:
                after = worst_on_cells(half, top, other, shift)
                if sum(shift) < radius:
                    assert after[0] > after[1], (top, other, shift)
                broken_by_double += sum(shift) < 2 * radius and after[0] <= after[1]
    assert broken_by_double > 0


def test_laplace_diagonal_shift_in_two_dimensions():
    """The worst classifier for a diagonal shift, by likelihood ratio on a fine grid: no worse than along an axis."""
    step = 0.02
    axis = np.arange(-9, 9, step) + step / 2
    density = 0.5 * np.exp(-np.abs(axis))
    before = np.multiply.outer(density, density).ravel() * step**2
    for a, b in [(0.5, 0.5), (0.8, 0.3), (1.0, 0.6)]:
        moved = np.multiply.outer(0.5 * np.exp(-np.abs(axis - a)), 0.5 * np.exp(-np.abs(axis - b))).ravel() * step**2
        order = np.argsort(moved / before, kind="stable")  # top first where the shift takes most away
        p, after = np.cumsum(before[order]), np.cumsum(moved[order])
        flips = p[np.searchsorted(after, 0.5)]
        # Every classifier with a larger p survives this shift; the radius at that p is at most the shift's length.
        assert laplace_l1(float(flips), None, 1.0) <= (a + b) * (1 + 1e-3)
