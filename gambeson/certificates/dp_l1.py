"""The l1 certificate of differential privacy for Laplace noise (PixelDP)."""

from numpy.typing import ArrayLike

from ._inputs import EPS, Floats, inputs, log_ratio, rounded_down


def dp_l1(p_lower: ArrayLike, p_upper: ArrayLike | None = None, scale: ArrayLike | None = None) -> float | Floats:
    """l1 radius from (eps, 0)-differential privacy of the Laplace mechanism: b/2 log(p_lower / p_upper).

    A shift of l1 length r changes every probability by a factor of at most exp(r / b). Kept for comparison:
    `laplace_l1` holds for the same noise and is never smaller.

    Args:
        p_lower: lower bound on the top class's probability, in [0, 1]. Arrays broadcast.
        p_upper: upper bound on every other class's probability, in [0, 1]; values above 1 - p_lower are replaced by
            1 - p_lower, which is what None means.
        scale: b of the density exp(-|z|/b) / 2b on every pixel, in pixel units, finite and > 0.

    Returns: radius in pixel units, rounded down: a float for scalars, else an array. 0 where p_lower <= p_upper;
        inf where p_lower = 1 (or p_upper = 0).
    Raises: UserError naming the argument, its value and its range.

    >>> round(dp_l1(0.9, None, 1.0), 5)
    1.09861

    Paper: Lecuyer et al. 2019, Proposition 1 with delta = 0. We differ in rounding down only.
    """
    given = inputs(p_lower, p_upper, scale, "scale")
    return rounded_down(log_ratio(given.top, given.other) / 2, given, 16 * EPS)
