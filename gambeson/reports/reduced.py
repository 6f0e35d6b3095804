"""Certified accuracy in linf and in changed pixels, which follows from certificates of another norm."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from gambeson.certificates.reductions import changed_pixels, other_norm
from gambeson.reports.curves import held
from gambeson.reports.naming import headlines
from gambeson.reports.series import Array, Certified, Source

STEPS = {"linf": (1, 2, 4, 8, 16, 32), "l0": (1, 2, 3, 4, 8, 16)}  # whole levels, and pixels
CUSTOMARY_LINF = {"mnist": (0.1, 0.3)}  # at which the literature compares; put up to the next whole level


@dataclass(frozen=True, eq=False)
class Reduced:
    """What one headline series says in `norm`: of every image the largest perturbation that is covered, itself
    included, in pixel units (linf) or as a number of pixels (l0)."""

    source: Source
    series: Certified
    norm: str
    covered: Array  # float64 or int64, of the images that are answered and answered correctly
    largest: float | int | None  # that can be covered at most; None: unknown, or without bound
    levels: int

    @property
    def label(self) -> str:
        return f"{self.norm} by reduction from {self.series.norm} ({self.series.certificate})"

    def count(self, size: float) -> int:
        """How many images are certified against every perturbation of `size` or less."""
        return int((self.covered >= size).sum())

    def size_name(self, size: float) -> str:
        """ "linf 2/255", or "2 pixels"."""
        if self.norm == "linf":
            return f"linf {round(size * self.levels)}/{self.levels}"
        return f"{size} pixel{'' if size == 1 else 's'}"


def reduced(source: Source) -> list[Reduced]:
    """In linf, then in l0; none for a log, which does not say how many values an image has.

    The radii are those on the pixel lattice: rounding to it keeps a real-valued perturbation of whole levels (or of k
    pixels) within its size, so they hold against those too. Float images, which lie off the lattice, have the radii
    against real-valued adversaries instead.
    """
    shape = source.header.get("shape")
    return [_reduced(source, series, norm, shape) for norm in STEPS if shape for series in headlines(source)]


def _reduced(source: Source, series: Certified, norm: str, shape: Sequence[int]) -> Reduced:
    covered = _covered(held(series, real=series.levels is None), series.norm, norm, shape)
    limit = series.max_radius
    largest = None if limit is None or not np.isfinite(limit) else _covered(limit, series.norm, norm, shape).item()
    return Reduced(source, series, norm, covered, largest, series.levels or 255)


def _covered(radius: Array | float, of: str, norm: str, shape: Sequence[int]) -> Array:
    values = prod(shape)
    if norm == "l0":
        return np.asarray(changed_pixels(radius, of, values, channels=shape[0]))
    return np.asarray(np.nextafter(other_norm(radius, of, norm, values), 0.0))  # the certificate's ball is open


def sizes(found: Sequence[Reduced], dataset: str | None) -> list[float]:
    """The customary sizes that some image reaches (else the smallest): whole levels in linf, pixels in l0."""
    norm, levels = found[0].norm, found[0].levels
    steps = {*STEPS[norm], *(ceil(size * levels) for size in CUSTOMARY_LINF.get(dataset or "", ()) if norm == "linf")}
    all_sizes = [step / levels if norm == "linf" else step for step in sorted(steps)]
    largest = max(float(one.covered.max(initial=0)) for one in found)
    return [size for size in all_sizes if size <= largest] or all_sizes[:1]
