"""The l1 certificate for uniform noise on a cube."""

from numpy.typing import ArrayLike

from ._inputs import EPS, Floats, inputs, rounded_down


def uniform_l1(
    p_lower: ArrayLike, p_upper: ArrayLike | None = None, half_width: ArrayLike | None = None
) -> float | Floats:
    """l1 radius for a classifier smoothed by uniform noise on [-L, L]^d: L (p_lower - p_upper).

    With p_upper = 1 - p_lower this is 2L (p_lower - 1/2). If the top class has probability >= p_lower at x and every
    other class <= p_upper, the top class stays ahead at x + delta for every ||delta||_1 < radius: the shift takes at
    most the share ||delta||_1 / 2L of the cube off its old place, so no probability changes by more.

    Args:
        p_lower: lower bound on the top class's probability, in [0, 1]. Arrays broadcast.
        p_upper: upper bound on every other class's probability, in [0, 1]; values above 1 - p_lower are replaced by
            1 - p_lower, which is what None means.
        half_width: L, in pixel units, finite and > 0.

    Returns: radius in pixel units, rounded down: a float for scalars, else an array. 0 where p_lower <= p_upper. At
        p_lower = 1 it is half_width, *not* infinite: a cube shifted by more than L in one pixel is mostly new
        ground.
    Raises: UserError naming the argument, its value and its range.

    >>> round(uniform_l1(0.9, None, 1.0), 6)
    0.8

    Paper: Yang et al. 2020 (p_upper = 1 - p_lower). We differ: the two-sided form, and rounding down.
    """
    given = inputs(p_lower, p_upper, half_width, "half_width")
    return rounded_down(given.top - given.other, given, 4 * EPS, certain=1.0)
