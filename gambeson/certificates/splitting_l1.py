"""The l1 certificate for splitting noise."""

from numpy.typing import ArrayLike

from ._inputs import EPS, Floats, inputs, rounded_down


def splitting_l1(
    p_lower: ArrayLike, p_upper: ArrayLike | None = None, half_width: ArrayLike | None = None
) -> float | Floats:
    """l1 radius for a classifier smoothed by splitting noise of half-width s: s (p_lower - p_upper).

    With p_upper = 1 - p_lower this is 2s (p_lower - 1/2). Thresholds of a value lie 2s apart, at a uniformly random
    offset: two images' values fall into different cells with probability |difference| / 2s at most, hence the noisy
    images differ with probability ||delta||_1 / 2s at most, *however the offsets of different values depend on each
    other*, and no class's probability changes by more. On the pixel lattice, where the offsets are enumerated and
    counts are exact, `vote_margin` is this radius in lattice steps.

    Args:
        p_lower: lower bound on the top class's probability, in [0, 1]. Arrays broadcast.
        p_upper: upper bound on every other class's probability, in [0, 1]; values above 1 - p_lower are replaced by
            1 - p_lower, which is what None means.
        half_width: s, in pixel units, finite and > 0.

    Returns: radius in pixel units, rounded down: a float for scalars, else an array. 0 where p_lower <= p_upper;
        half_width at p_lower = 1, as for `uniform_l1`.
    Raises: UserError naming the argument, its value and its range.

    >>> round(splitting_l1(0.9, None, 1.0), 6)
    0.8

    Paper: Levine & Feizi 2021 (p_upper = 1 - p_lower). We differ: the two-sided form, and rounding down.
    """
    given = inputs(p_lower, p_upper, half_width, "half_width")
    return rounded_down(given.top - given.other, given, 4 * EPS, certain=1.0)
