"""The tight l2 certificate for Gaussian noise."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ._inputs import EPS, Floats, inputs, rounded_down


def gaussian_l2(p_lower: ArrayLike, p_upper: ArrayLike | None = None, sigma: ArrayLike | None = None) -> float | Floats:
    """l2 radius for a classifier smoothed by Gaussian noise: sigma/2 (z(p_lower) - z(p_upper)), z the normal quantile.

    If the top class has probability >= p_lower at x and every other class <= p_upper, the top class stays ahead at
    x + delta for every ||delta||_2 < radius. No larger radius holds for all classifiers.

    Args:
        p_lower: lower bound on the top class's probability, in [0, 1]. Arrays broadcast.
        p_upper: upper bound on every other class's probability, in [0, 1]; values above 1 - p_lower are replaced by
            1 - p_lower, which is what None means.
        sigma: standard deviation of the noise, in pixel units, finite and > 0.

    Returns: radius in pixel units, rounded down: a float for scalars, else an array. 0 where p_lower <= p_upper;
        inf where p_lower = 1 (or p_upper = 0), because Gaussians at two centres give probability 0 to the same
        sets.
    Raises: UserError naming the argument, its value and its range.

    >>> round(gaussian_l2(0.99, None, 0.5), 4)
    1.1632
    >>> gaussian_l2(0.5, None, 0.5)
    0.0

    Paper: Cohen, Rosenfeld, Kolter 2019, Theorem 1. We differ in rounding down only.
    """
    given = inputs(p_lower, p_upper, sigma, "sigma")
    ahead, behind = special.ndtri(given.top), special.ndtri(given.other)
    # The quantiles can cancel (both probabilities below 1/2): their rounding errors add up.
    slack = 8 * EPS * (np.abs(ahead) + np.abs(behind))
    with np.errstate(invalid="ignore"):
        unit = (ahead - behind - slack) / 2
    return rounded_down(np.where(given.other == 0, np.inf, unit), given, 4 * EPS)
