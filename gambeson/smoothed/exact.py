"""CERTIFY where every noisy copy of an image can be counted (Levine & Feizi 2021): nothing is random, nothing fails."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from gambeson.certificates.vote_margin import vote_margin
from gambeson.errors import UserError
from gambeson.smoothed.procedure import Ask, Procedure

if TYPE_CHECKING:
    from gambeson.smoothed.hard import Smoothed


def exact(smoothed: "Smoothed", pixels: Tensor) -> Procedure:
    """Certify one image (C, H, W) in [0, 1]; returns a certified record's fields.

    The smoothed classifier gives `selected` to every image on the lattice within the radius, that distance included:
    one lattice step changes one noisy copy at most. It answers always; a radius of 0 is about the image itself.
    """
    found = yield every_copy(smoothed)
    fields = claim(smoothed, found.classes)
    return {
        **fields,
        "predict": fields["selected"],
        "reason": None,
        "select_counts": [],
        "counts": found.classes.tolist(),
        "nonfinite": found.nonfinite,
        "p_lower_two_sided": None,
        "p_upper_two_sided": None,
        "radii_real": smoothed.real_radii(pixels, fields["radii"]),
        "radius_kind": "exact",
    }


def every_copy(smoothed: "Smoothed") -> Ask:
    if smoothed.noise.states is None:
        raise UserError(f"noise {smoothed.noise.noise.name} has too many noisy copies to count all: draw some")
    return Ask("estimate", 0, smoothed.noise.states)


def claim(smoothed: "Smoothed", counts: ArrayLike) -> dict[str, Any]:
    """What the counts of every noisy copy prove: the class, its share of the copies, its radii."""
    selected, margin = vote_margin(counts)
    share = int(np.asarray(counts)[selected]) / every_copy(smoothed).draws
    # No lattice point lies between margin / levels and the next step: rounding to a float claims no other one.
    radii = {certificate.name: margin / smoothed.noise.levels for certificate in smoothed.certificates()}
    return {"selected": selected, "p_lower": share, "radii": radii}


def largest_exact_radii(smoothed: "Smoothed") -> dict[str, float]:
    """What can be certified at most: the radii of a class that ties go to and that gets every copy."""
    unanimous = np.zeros(smoothed.classes, dtype=np.int64)
    unanimous[0] = every_copy(smoothed).draws
    return dict(claim(smoothed, unanimous)["radii"])
