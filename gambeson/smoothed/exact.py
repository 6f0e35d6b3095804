"""CERTIFY where every noisy copy of an image can be counted (Levine & Feizi 2021): nothing is random, nothing fails."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from gambeson.certificates.vote_margin import vote_margin
from gambeson.errors import UserError
from gambeson.smoothed.claim import claim
from gambeson.smoothed.procedure import Ask, Procedure

if TYPE_CHECKING:
    from gambeson.smoothed.hard import Smoothed


def exact(smoothed: "Smoothed", pixels: Tensor) -> Procedure:
    """Certify one image (C, H, W) in [0, 1]; returns a certified record's fields.

    The smoothed classifier gives `selected` to every image on the lattice within the radius, that distance included:
    one lattice step changes one noisy copy at most. It answers always; a radius of 0 is about the image itself.
    """
    found = yield every_copy(smoothed)
    selected, p_lower, radii = _proven(smoothed, found.classes)
    fields = claim(smoothed, pixels, selected, None, found, p_lower=p_lower, radii=radii, reason=None)
    return fields | {"radius_kind": "exact"}


def every_copy(smoothed: "Smoothed") -> Ask:
    if smoothed.noise.states is None:
        raise UserError(f"noise {smoothed.noise.noise.name} has too many noisy copies to count all: draw some")
    return Ask("estimate", 0, smoothed.noise.states)


def _proven(smoothed: "Smoothed", counts: ArrayLike) -> tuple[int, float, dict[str, float]]:
    """What the counts of every noisy copy prove: the class, its share of the copies, its radii."""
    selected, margin = vote_margin(counts)
    share = int(np.asarray(counts)[selected]) / every_copy(smoothed).draws
    # No lattice point lies between margin / levels and the next step: rounding to a float claims no other one.
    return selected, share, {row.name: margin / smoothed.noise.levels for row in smoothed.certificates()}


def largest_exact_radii(smoothed: "Smoothed") -> dict[str, float]:
    """What can be certified at most: the radii of a class that ties go to and that gets every copy."""
    unanimous = np.zeros(smoothed.classes, dtype=np.int64)
    unanimous[0] = every_copy(smoothed).draws
    return _proven(smoothed, unanimous)[2]
