"""What rounding to the pixel lattice takes off a radius.

The smoothed classifier rounds what it is given, and a certificate is about the lattice point that an image is rounded
to. A radius around the image itself is smaller by the distance between the two, and one against real-valued adversaries
by what rounding their images may do for them.
"""

from collections.abc import Mapping
from math import nextafter, sqrt

from torch import Tensor

from gambeson.sampling import to_lattice


def lattice_radii(
    pixels: Tensor, radii: Mapping[str, float], norms: Mapping[str, str], levels: int
) -> dict[str, float]:
    """Radii around the lattice point of an image (C, H, W) in [0, 1] as radii around the image, against adversaries on
    the lattice. norms: of each radius, l2 or l1.
    """
    own = lattice_distance(pixels, levels)
    return {name: less(radius, own[norms[name]]) for name, radius in radii.items()}


def real_radii(pixels: Tensor, radii: Mapping[str, float], norms: Mapping[str, str], levels: int) -> dict[str, float]:
    """The same against real-valued adversaries.

    Rounding moves an image by the rounding distance at most. It also at most doubles a perturbation of a lattice
    point, since a value that moves by k >= 1 steps was perturbed by k - 1/2 >= k/2 of them. Pixels in float32 are off
    the lattice by 2^-25 each, which is paid for in both.
    """
    half = (1 - levels * 2.0**-23) / 2
    moved, values = rounding_distance(pixels.numel(), levels), pixels.numel()
    moved = {"l2": moved["l2"] + 2.0**-25 * sqrt(values), "l1": moved["l1"] + 2.0**-25 * values}
    left = {name: max(less(radius, moved[norms[name]]), half * radius) for name, radius in radii.items()}
    return lattice_radii(pixels, left, norms, levels)


def rounding_distance(values: int, levels: int) -> dict[str, float]:
    """How far rounding to the lattice can move an image of `values` values, in l2 and l1."""
    half = 0.5 / levels
    return {"l2": nextafter(half * sqrt(values), 1e9), "l1": nextafter(half * values, 1e9)}


def lattice_distance(pixels: Tensor, levels: int) -> dict[str, float]:
    """How far an image is from its lattice point, in l2 and l1: exactly 0 for images in whole levels, as float32 pixels
    have them, else a little too far, which pays for the rounding of the norms and of the lattice point to float32.
    """
    nearest = to_lattice(pixels, levels).float() / levels
    offset = (pixels.double() - nearest.double()).abs() * (1 + 1e-9)
    if bool(offset.any()):
        offset += 2.0**-25
    return {"l2": float(offset.norm()), "l1": float(offset.sum())}


def less(radius: float, distance: float) -> float:
    """A radius that a distance was taken off, rounded down, at least 0."""
    return max(0.0, nextafter(radius - distance, 0)) if distance else radius
