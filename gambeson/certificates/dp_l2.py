"""The l2 certificate of differential privacy for Gaussian noise (PixelDP), optimised."""

import numpy as np
from numpy.typing import ArrayLike

from ._inputs import EPS, Floats, inputs, log_ratio, rounded_down
from ._maximise import maximise

SHARES = np.linspace(0.0, 1.0, 21)[1:]


def dp_l2(p_lower: ArrayLike, p_upper: ArrayLike | None = None, sigma: ArrayLike | None = None) -> float | Floats:
    """l2 radius from (eps, delta)-differential privacy of the Gaussian mechanism, the best over its eps.

        sup over 0 < beta <= min(1, log(p_lower / p_upper) / 2) of
            sigma beta / sqrt( 2 log( 1.25 (1 + e^beta) / (p_lower - e^(2 beta) p_upper) ) )

    It stays below 0.571 sigma as p_lower approaches 1, because the mechanism's analysis needs eps <= 1. Kept for
    comparison: `gaussian_l2` holds for the same noise and is never smaller.

    Args:
        p_lower: lower bound on the top class's probability, in [0, 1]. Arrays broadcast.
        p_upper: upper bound on every other class's probability, in [0, 1]; values above 1 - p_lower are replaced by
            1 - p_lower, which is what None means.
        sigma: standard deviation of the noise, in pixel units, finite and > 0.

    Returns: radius in pixel units, rounded down: a float for scalars, else an array. 0 where p_lower <= p_upper. At
        p_lower = 1 exactly it is inf by the argument of `gaussian_l2`, not by the formula above, which jumps there.
    Raises: UserError naming the argument, its value and its range.

    >>> round(dp_l2(0.99, None, 1.0), 5)
    0.55487

    Paper: Lecuyer et al. 2019; optimised as in Cohen et al. 2019, appendix I, (27)-(30). We differ: beta is searched
    for (PixelDP's code uses a grid of deltas and a bisection to 1e-3), and rounding down.
    """
    given = inputs(p_lower, p_upper, sigma, "sigma")
    ratio = log_ratio(given.top, given.other)
    most = np.minimum(1.0, ratio / 2)

    def radius(share: Floats) -> Floats:
        beta = share * most
        # p_lower - e^(2 beta) p_upper without cancellation; 0 where beta uses the whole ratio up, and the radius is 0.
        margin = -given.top * np.expm1(2 * beta - ratio)
        with np.errstate(divide="ignore"):
            return beta / np.sqrt(2 * (np.log(1.25 * (1 + np.exp(beta))) - np.log(margin)))

    _, best = maximise(radius, SHARES, ratio.size)
    return rounded_down(best, given, 64 * EPS)
