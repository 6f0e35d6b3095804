"""The rounded noise, exactly: what a lattice sampler must draw, from closed forms in 40 digits, not from its table."""

from functools import cache
from itertools import pairwise

import mpmath
import numpy as np
from numpy.typing import NDArray

from gambeson.noise import Noise


def true_tail(noise: Noise, z: mpmath.mpf) -> mpmath.mpf:
    """P(noise > z), z >= 0."""
    scale = mpmath.mpf(noise.scale)
    if noise.kind == "gaussian":
        return mpmath.ncdf(-z / scale)
    return mpmath.exp(-z / scale) / 2 if noise.kind == "laplace" else max(mpmath.mpf(0), (1 - z / scale) / 2)


def boundary(cell: int, levels: int) -> mpmath.mpf:
    return (mpmath.mpf(cell) + mpmath.mpf("0.5")) / levels


@cache
def cell_probabilities(noise: Noise, levels: int) -> NDArray[np.float64]:
    """P(cell) for cells -top..top; less than 2^-65 lies beyond them."""
    with mpmath.workdps(40):
        tails = [true_tail(noise, boundary(0, levels))]  # P(cell > k)
        while tails[-1] > 2.0**-66:
            tails.append(true_tail(noise, boundary(len(tails), levels)))
        half = [1 - 2 * tails[0], *(before - after for before, after in pairwise(tails))]
        return np.array([float(p) for p in half[:0:-1] + half])
