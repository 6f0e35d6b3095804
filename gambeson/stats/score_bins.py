"""The grid on which scores in [0, 1] are counted, so that draws become integers that add up.

    largest misses:  0 < 2^-20 < ... < 2^-k (1 + j/32) < ... < 1        (miss = 1 - score)

A score is counted in the bin whose largest miss is the least that is not below its own: rounded down. The grid is finer
towards score 1, where radii are decided: rounding takes at most 1/32 of a miss, and at most 2^-20 of a score near 1.
"""

import numpy as np

from ._counts import Floats

OCTAVES, STEPS = 20, 32
BINS = OCTAVES * STEPS + 1
COMPUTED = 1e-9  # of a miss: added before it is counted, far above what float64 arithmetic can be off


def largest_misses() -> Floats:
    """The largest miss of every bin, (BINS,), increasing to 1; exact in float64.

    >>> largest_misses()[[0, 1, -2, -1]].tolist()
    [9.5367431640625e-07, 9.834766387939453e-07, 0.984375, 1.0]
    """
    octave = np.repeat(np.arange(-OCTAVES, 0), STEPS)
    step = np.tile(np.arange(1, STEPS + 1), OCTAVES)
    return np.append(2.0**-OCTAVES, 2.0**octave * (1 + step / STEPS))


def least_scores() -> Floats:
    """A lower bound on the scores that each bin counts: what a lower bound on their mean is computed from."""
    return 1 - largest_misses()


def largest_scores() -> Floats:
    """An upper bound on the scores that each bin counts, which undoes what was added for rounding."""
    least = np.append(0.0, largest_misses()[:-1]) * (1 - 4 * COMPUTED)
    return 1 - least
