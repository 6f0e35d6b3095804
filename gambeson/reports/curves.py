"""Certified accuracy as an exact step function of the recorded radii."""

import numpy as np

from gambeson.reports.series import Array, Certified

CUSTOMARY = {"mnist": 1.58, "cifar10": 36 / 255}  # l2 radii at which the literature compares


def counts_at(series: Certified, radii: Array, *, real: bool = False) -> Array:
    """How many images are certified at each radius: int64, the shape of `radii`.

    count(r) = #{i : not abstained, correct, radius_i >= r}. Divide by `series.images.total`, the number of *all*
    images: an abstention is not certified and stays in the denominator (Cohen et al. 2019, section 4).
    `real` takes the radii against real-valued adversaries instead of those on the pixel lattice.
    """
    certified = np.sort(held(series, real=real))
    return certified.size - np.searchsorted(certified, np.asarray(radii, dtype=np.float64), side="left")


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
    """Every multiple of 0.25 up to the largest radius, and the data set's customary l2 radius."""
    largest = series.max_radius
    if largest is None or not np.isfinite(largest):
        largest = float(max(series.radius.max(initial=0.0), 0.0))
    radii = {0.25 * step for step in range(int(largest / 0.25) + 1)} | set(series.grid or ())
    if series.norm == "l2" and dataset in CUSTOMARY:
        radii.add(CUSTOMARY[dataset])
    return sorted(radii)
