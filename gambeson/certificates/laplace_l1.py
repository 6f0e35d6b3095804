"""The tight l1 certificate for Laplace noise."""

import numpy as np
from numpy.typing import ArrayLike

from ._inputs import EPS, Floats, inputs, log_ratio, rounded_down


def laplace_l1(p_lower: ArrayLike, p_upper: ArrayLike | None = None, scale: ArrayLike | None = None) -> float | Floats:
    """l1 radius for a classifier smoothed by Laplace noise: (Q(p_lower) - Q(p_upper)) / 2, Q the Laplace quantile.

        Q(p) = b log(2p) for p < 1/2, -b log(2(1-p)) otherwise;   with p_upper = 1 - p_lower: -b log(2(1 - p_lower))

    If the top class has probability >= p_lower at x and every other class <= p_upper, the top class stays ahead at
    x + delta for every ||delta||_1 < radius. No larger radius holds for all classifiers.

    Args:
        p_lower: lower bound on the top class's probability, in [0, 1]. Arrays broadcast.
        p_upper: upper bound on every other class's probability, in [0, 1]; values above 1 - p_lower are replaced by
            1 - p_lower, which is what None means.
        scale: b of the density exp(-|z|/b) / 2b on every pixel, in pixel units, finite and > 0.

    Returns: radius in pixel units, rounded down: a float for scalars, else an array. 0 where p_lower <= p_upper;
        inf where p_lower = 1 (or p_upper = 0): Laplace noise at two centres gives probability 0 to the same sets.
    Raises: UserError naming the argument, its value and its range.

    >>> round(laplace_l1(0.9, None, 1.0), 5)
    1.60944
    >>> round(laplace_l1(0.9, 0.05, 1.0), 3)
    1.956

    Paper: Teng, Lee, Yuan 2019 and Yang et al. 2020 for p_upper = 1 - p_lower. We differ: the two-sided form, proven in
    docs/methods/laplace_l1.md; and rounding down.
    """
    given = inputs(p_lower, p_upper, scale, "scale")
    top, other = given.top, given.other
    with np.errstate(divide="ignore"):
        # log1p of an exact difference: log 2p and log 2(1-p) vanish at 1/2.
        ahead = -np.log1p(1 - 2 * np.maximum(top, 0.5))
        behind = -np.where(other > 0.25, np.log1p(2 * np.minimum(other, 0.5) - 1), np.log(2 * other))
    return rounded_down(np.where(top < 0.5, log_ratio(top, other), ahead + behind) / 2, given, 8 * EPS)
