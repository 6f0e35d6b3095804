"""What further draws of an image will decide about a threshold: certify it, or rule it out."""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ._counts import Floats
from .futility import NODES

Whole = NDArray[np.int64]


def prospects(look: int, misses: Whole, looks: Whole, certifies: Whole, ruled_out: Whole) -> Floats:
    """P(decided at a later look | misses so far), (images, later looks), where nothing is decided at `look`.

    The mean over p ~ Beta(hits + 1/2, misses + 1/2), Jeffreys' posterior, of the chance that the misses are then few
    enough to certify the threshold or enough to rule it out.

    Args:
        look: the present one, of all images.
        misses: whole numbers (images,).
        looks: increasing numbers of draws.
        certifies, ruled_out: (images, looks), the most misses that certify, the least that rule out, of the threshold
            that each image is asked about.
    """
    hits, more = looks[look] - misses, looks[look + 1 :] - looks[look]
    nodes = (np.arange(NODES) + 0.5) / NODES
    hit = special.betaincinv(hits[:, None] + 0.5, misses[:, None] + 0.5, nodes)[:, None, :]
    few = certifies[:, look + 1 :] - misses[:, None]
    many = ruled_out[:, look + 1 :] - misses[:, None] - 1
    return _at_most(few, more, hit) + 1 - _at_most(many, more, hit)


def _at_most(misses: Whole, draws: Whole, hit: Floats) -> Floats:
    """P(at most so many misses in the draws), averaged over the probabilities of a hit."""
    within = np.clip(misses, 0, draws - 1)[:, :, None]
    chance = special.betainc(draws[None, :, None] - within, within + 1.0, hit).mean(2)
    return np.where(misses < 0, 0.0, np.where(misses >= draws, 1.0, chance))
