"""The l2 certificate of Renyi divergence for Gaussian noise (STN)."""

import numpy as np
from numpy.typing import ArrayLike

from ._inputs import EPS, Floats, inputs, rounded_down
from ._maximise import maximise
from ._renyi import divergence_needed

LOG_EXCESS = np.log(10.0) * np.linspace(-9, 3, 49)  # log(a - 1)


def renyi_l2(p_lower: ArrayLike, p_upper: ArrayLike | None = None, sigma: ArrayLike | None = None) -> float | Floats:
    """l2 radius from the Renyi divergence between shifted Gaussians, the best over its order a > 1.

        sup over a > 1 of sigma sqrt( (2/a) tau(a) ),   tau(a) = -log(1 - p1 - p2 + 2 M_{1-a}(p1, p2)),
        M_t(u, v) = ((u^t + v^t)/2)^(1/t),   p1 = p_lower, p2 = p_upper

    Every a gives a valid radius. With p_upper = 1 - p_lower it is about 0.80 to 0.85 of `gaussian_l2`, which holds for
    the same noise and is never smaller; kept to tell what training gains from what the bound gains.

    Args:
        p_lower: lower bound on the top class's probability, in [0, 1]. Arrays broadcast.
        p_upper: upper bound on every other class's probability, in [0, 1]; values above 1 - p_lower are replaced by
            1 - p_lower, which is what None means.
        sigma: standard deviation of the noise, in pixel units, finite and > 0.

    Returns: radius in pixel units, rounded down: a float for scalars, else an array. 0 where p_lower <= p_upper;
        inf where p_lower = 1.
    Raises: UserError naming the argument, its value and its range.

    >>> round(renyi_l2(0.9, None, 1.0), 5)
    1.03193

    Paper: Li, Chen, Wang, Carin 2019, Theorem 2. We differ: the supremum is found by search, not on 100 values of a in
    [1.01, 2]; the probabilities come from Clopper-Pearson bounds, not from Sison-Glaz intervals; and rounding down.
    """
    given = inputs(p_lower, p_upper, sigma, "sigma")

    def half_square(log_excess: Floats) -> Floats:
        excess = np.exp(log_excess)
        return divergence_needed(given.top, given.other, excess) / (1 + excess)

    _, best = maximise(half_square, LOG_EXCESS, given.top.size)
    return rounded_down(np.sqrt(2 * best), given, 64 * EPS)
