"""Certified accuracy as an exact step function of the recorded radii."""

import numpy as np

from gambeson.certificates.customary import customary
from gambeson.reports.series import Array, Certified


def counts_at(series: Certified, radii: Array, *, real: bool = False) -> Array:
    """How many images are certified at each radius: int64, the shape of `radii`.

    count(r) = #{i : not abstained, correct, radius_i >= r}. Divide by `series.images.total`, the number of *all*
    images: an abstention is not certified and stays in the denominator (Cohen et al. 2019, section 4).
    `real` takes the radii against real-valued adversaries instead of those on the pixel lattice.
    """
    certified = np.sort(held(series, real=real))
    return certified.size - np.searchsorted(certified, np.asarray(radii, dtype=np.float64), side="left")


def cells(series: Certified) -> list[tuple[float, int, int]]:
    """Of a table that was certified for an error, each radius with how many images are certified there and how many are
    certified or undecided; none of other series.
    """
    if series.grid is None or series.undecided is None:
        return []
    count, undecided = counts_at(series, np.array(series.grid)).tolist(), series.undecided.sum(0).tolist()
    return [(r, low, low + more) for r, low, more in zip(series.grid, count, undecided, strict=True)]


def held(series: Certified, *, real: bool = False) -> Array:
    """The radii of the images that are answered and answered correctly."""
    radius = series.radius_real if real else series.radius
    if radius is None:
        raise ValueError("this series holds no radii against real-valued adversaries")
    return radius[series.images.correct & (series.images.predict != -1)]


def steps(series: Certified) -> tuple[Array, Array]:
    """The corners (radius, accuracy) of the curve from radius 0 on: accuracy[j] holds up to and including radius[j];
    beyond the last it is 0."""
    radius = np.unique(np.concatenate([[0.0], held(series)]))
    return radius, counts_at(series, radius) / series.images.total


def average_radius(series: Certified) -> float | None:
    """Mean radius over all images, 0 for those that are wrong or abstained: the area under the curve. None for radii of
    a grid, which stop short of what each image could have.
    """
    if series.grid is not None:
        return None
    return float(held(series).sum() / series.images.total)


def grid(series: Certified, dataset: str | None) -> list[float]:
    """The customary radii up to the largest one, and those that were decided."""
    largest = series.max_radius
    if largest is None or not np.isfinite(largest):
        largest = float(max(series.radius.max(initial=0.0), 0.0))
    return sorted({*customary(dataset, series.norm, largest), *(series.grid or ())})
