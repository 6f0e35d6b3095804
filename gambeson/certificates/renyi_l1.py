"""The l1 certificate of Renyi divergence for Laplace noise, in its correct form."""

import numpy as np
from numpy.typing import ArrayLike

from ._inputs import EPS, Floats, inputs, rounded_down
from ._maximise import maximise
from ._renyi import divergence_needed

LOG_EXCESS = np.log(10.0) * np.linspace(-9, 6, 46)  # log(a - 1)
LOSS = 128 * EPS  # far above the rounding error of one evaluation of the divergence


def _divergence(excess: Floats, shift: Floats) -> tuple[Floats, Floats]:
    """d_a(D) of two Laplace distributions (b = 1) shifted by D, and its slope in D; a = 1 + excess."""
    weight, rate = excess / (1 + 2 * excess), 1 + 2 * excess
    fall = np.expm1(-rate * shift)
    return shift + np.log1p(weight * fall) / excess, -fall * (1 - weight) / (1 + weight * fall)


def _shift(needed: Floats, excess: Floats, steps: int) -> Floats:
    """D with d_a(D) = needed. d is convex and rises from 0: Newton's steps come down to D from any start above."""
    above = np.minimum(
        needed + np.log1p(excess / (1 + excess)) / excess,  # d_a(D) >= D - log((2a-1)/a) / (a-1)
        (needed + np.sqrt(needed * (needed + 8))) / 2,  # d_a(D) >= d_1(D) >= D^2 / (2 + D)
    )
    below = np.sqrt(2 * needed / (1 + excess))  # d_a(D) <= a D^2 / 2; one step from below lands above
    with np.errstate(divide="ignore", invalid="ignore"):
        value, slope = _divergence(excess, below)
        shift = np.fmin(above, below + (needed - value) / slope)
        for _ in range(steps):
            value, slope = _divergence(excess, shift)
            shift = np.where(slope > 0, np.maximum(shift - (value - needed) / slope, 0.0), 0.0)
    return shift


def renyi_l1(p_lower: ArrayLike, p_upper: ArrayLike | None = None, scale: ArrayLike | None = None) -> float | Floats:
    """l1 radius from the Renyi divergence between shifted Laplace noises, the best over its order a > 1.

        sup over a > 1 of the D >= 0 with d_a(D) = tau(a),   tau as in `renyi_l2`,
        d_a(D) = 1/(a-1) log( a/(2a-1) e^((a-1) D/b) + (a-1)/(2a-1) e^(-a D/b) )

    With p_upper = 1 - p_lower the supremum is the limit a -> infinity, -b log(2 (1 - p_lower)), the tight value;
    otherwise it may lie inside and is at most `laplace_l1`.

    Args:
        p_lower: lower bound on the top class's probability, in [0, 1]. Arrays broadcast.
        p_upper: upper bound on every other class's probability, in [0, 1]; values above 1 - p_lower are replaced by
            1 - p_lower, which is what None means.
        scale: b of the density exp(-|z|/b) / 2b on every pixel, in pixel units, finite and > 0.

    Returns: radius in pixel units, rounded down: a float for scalars, else an array. 0 where p_lower <= p_upper;
        inf where p_lower = 1.
    Raises: UserError naming the argument, its value and its range.

    >>> round(renyi_l1(0.9, None, 1.0), 5)
    1.60944
    >>> round(renyi_l1(0.9, 0.05, 1.0), 3)
    1.925

    Paper: Li, Chen, Wang, Carin 2019. We differ: the formula printed in the authors' reply to reviewers takes
    ||x - x'||_1 out of an exponent, which certifies too much beyond 1 and depends on the unit; it is not used.
    """
    given = inputs(p_lower, p_upper, scale, "scale")
    top, other = given.top, given.other

    def shift(log_excess: Floats) -> Floats:
        excess = np.exp(log_excess)
        return _shift(divergence_needed(top, other, excess), excess, steps=5)

    log_excess, _ = maximise(shift, LOG_EXCESS, top.size, rounds=5)
    excess = np.exp(log_excess)
    needed = divergence_needed(top, other, excess)
    inside = np.maximum(_shift(needed, excess, steps=40) * (1 - LOSS) - LOSS, 0.0)
    proven = _divergence(excess, inside)[0] <= needed * (1 - LOSS / 4)
    gap = top - other
    limit = -np.where(gap < 0.5, np.log1p(-np.minimum(gap, 0.5)), np.log((1 - top) + other))  # a -> infinity
    return rounded_down(np.maximum(np.where(proven, inside, 0.0), limit * (1 - 16 * EPS)), given, 4 * EPS)
