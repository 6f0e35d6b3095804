"""Which thresholds a probability does not reach: what tells a radius that is undecided from one that never comes."""

from collections.abc import Sequence
from math import nextafter

import numpy as np
from numpy.typing import NDArray

from .adaptive import limits_of


def ruled_out(thresholds: Sequence[float], looks: Sequence[int], beta: float, rule: str) -> NDArray[np.int64]:
    """The least misses that rule a threshold out at a look, (thresholds, looks); one more than the draws: none do.

    The mirror image of certification by the same `rule`: a probability p >= t misses with 1 - p <= 1 - t, so misses too
    many for 1 - t certify that p < t. Limits are nested: a lower threshold is never the easier one to rule out.

    Guarantee: if the draws hit with probability p, then P(at some look a threshold <= p is ruled out) <= beta,
    whatever else is stopped for.

    >>> ruled_out([0.5, 0.9], [100, 200], 0.001, "group_sequential").tolist()
    [[68, 123], [22, 36]]
    """
    draws = np.array(looks)
    most_hits = [limits_of(rule)(nextafter(1 - t, 1), looks, beta) for t in thresholds]
    least = np.stack([np.where(hits >= 0, draws - hits, draws + 1) for hits in most_hits])
    return np.maximum.accumulate(least[::-1])[::-1]
