"""Published and independently computed values: the comparison of the bounds, five digits."""

import numpy as np
import pytest

from gambeson.certificates import (
    dp_l1,
    dp_l2,
    gaussian_l2,
    laplace_l1,
    max_radius,
    renyi_l1,
    renyi_l2,
    splitting_l1,
    uniform_l1,
)

P = np.array([0.6, 0.7, 0.8, 0.9, 0.99, 0.999, 0.9999])
# p_upper = 1 - p_lower, scale 1. Gaussian: Cohen et al. 2019 theorem 1, appendix I (32)-(38) and (27)-(30).
TABLE = {
    gaussian_l2: [0.25335, 0.52440, 0.84162, 1.28155, 2.32635, 3.09023, 3.71902],
    renyi_l2: [0.20222, 0.41907, 0.67422, 1.03193, 1.90801, 2.57574, 3.14094],
    dp_l2: [0.05922, 0.13504, 0.23516, 0.39027, 0.55487, 0.56891, 0.57031],
    laplace_l1: [0.22314, 0.51083, 0.91629, 1.60944, 3.91202, 6.21461, 8.51719],
    renyi_l1: [0.22314, 0.51083, 0.91629, 1.60944, 3.91202, 6.21461, 8.51719],
    dp_l1: [0.20273, 0.42365, 0.69315, 1.09861, 2.29756, 3.45338, 4.60512],
    uniform_l1: [0.2, 0.4, 0.6, 0.8, 0.98, 0.998, 0.9998],
    splitting_l1: [0.2, 0.4, 0.6, 0.8, 0.98, 0.998, 0.9998],
}


@pytest.mark.parametrize("certificate", TABLE, ids=lambda f: f.__name__)
def test_one_sided_table(certificate):
    np.testing.assert_allclose(certificate(P, None, 1.0), TABLE[certificate], atol=6e-6)
    for p, radius in zip(P, TABLE[certificate], strict=True):
        assert certificate(float(p), None, 1.0) == pytest.approx(radius, abs=6e-6)


@pytest.mark.parametrize(("certificate", "radius"), [(laplace_l1, 1.956), (renyi_l1, 1.925), (dp_l1, 1.445)])
def test_two_sided_laplace_example(certificate, radius):
    assert certificate(0.9, 0.05, 1.0) == pytest.approx(radius, abs=6e-4)


# All n draws agree; one-sided Clopper-Pearson at alpha. Cohen et al. 2019 give 3.81 sigma for n = 10^5, alpha = 0.001.
@pytest.mark.parametrize(
    ("name", "alpha", "radii"),
    [
        ("gaussian_l2", 0.001, [1.500, 2.463, 3.199, 3.811]),
        ("renyi_l2", 0.001, [1.212, 2.026, 2.672, 3.225]),
        ("laplace_l1", 0.001, [2.014, 4.285, 6.585, 8.887]),
        ("gaussian_l2", 0.05, [1.888, 2.749, 3.432, 4.013]),
        ("renyi_l2", 0.05, [1.535, 2.2745, 2.881, 3.409]),
    ],
)
def test_largest_radii(name, alpha, radii):
    for n, radius in zip((100, 1000, 10_000, 100_000), radii, strict=True):
        assert max_radius(name, n, alpha, 1.0) == pytest.approx(radius, abs=6e-4)


def test_smallest_n_that_reaches_a_radius():
    for name, rows in {"gaussian_l2": {1: 40, 2: 301, 3: 5114}, "renyi_l2": {1: 62, 2: 920, 3: 37752}}.items():
        for radius, n in rows.items():
            assert max_radius(name, n - 1, 0.001, 1.0) < radius <= max_radius(name, n, 0.001, 1.0)


def test_dp_l2_saturates():
    assert dp_l2(1 - 1e-15, None, 1.0) == pytest.approx(0.57047, abs=1e-5)
