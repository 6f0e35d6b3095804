"""Coverage at full size: how often a claim is too large, where the radius is known, on the road of every run.

One pixel at 128 / 255, a half-space whose boundary lies between two lattice points, at 90.5 / 255: there the tight
certificate of the exact probability is the distance itself, for all three noises, so a radius is false exactly where
its lower bound is.
"""

from collections.abc import Callable
from functools import cache, partial
from math import ceil

import numpy as np
import pytest
import torch
from exact_cells import cell_probabilities
from halfspaces import FALSE_ALARM, LEVELS, ONE, halfspace, image_at
from scipy.stats import beta, binom
from torch import Tensor

from gambeson.certificates import CERTIFICATES, applicable
from gambeson.noise import parse
from gambeson.smoothed import hard
from gambeson.smoothed.company import together
from gambeson.smoothed.fixed import fixed
from gambeson.smoothed.grid import grid, thresholds
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.in_rounds import in_rounds
from gambeson.smoothed.procedure import Procedure
from gambeson.stats import Plan, plan, table

CELL, EDGE, SELECT, DRAWS, ALPHA = 128, 90.5, 20, 200, 0.1
PIXELS, DISTANCE = torch.full((1, 1, 1), CELL / LEVELS), (CELL - EDGE) / LEVELS
NOISES = [("gaussian:0.25", "gaussian_l2"), ("laplace:0.2", "laplace_l1"), ("uniform:0.5", "uniform_l1")]
QUICK, LONG, COMPANY = 1_500, 100_000, 500
BOUNDS = Smoothed.bounds
Certify = Callable[[Smoothed], Procedure]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tight certificate alone, and each count's bounds once: both cost more than the draws here."""
    monkeypatch.setattr(hard, "applicable", lambda kind: applicable(kind)[:1])
    bounds = cache(lambda smoothed, counts, *rest: BOUNDS(smoothed, np.array(counts), *rest))
    monkeypatch.setattr(Smoothed, "bounds", lambda self, counts, *rest: bounds(self, tuple(counts.tolist()), *rest))


def one_pixel(noise: str) -> Smoothed:
    return halfspace(noise, ONE, EDGE / LEVELS, batch=10_000)


def certificates(smoothed: Smoothed, count: int, procedure: Certify, pixels: Tensor = PIXELS) -> list[dict]:
    """`count` independent records of the image, each on noise of its own, in shared calls: the road of every run."""
    records = []
    for start in range(0, count, COMPANY):
        indices = range(start, min(count, start + COMPANY))
        work = [procedure(smoothed) for _ in indices]
        records += together(smoothed, work, pixels.expand(len(indices), *pixels.shape), indices)
    return records


def full(alpha: float, pixels: Tensor = PIXELS) -> Certify:
    return lambda smoothed: fixed(smoothed, pixels, select_draws=SELECT, draws=DRAWS, alpha=alpha)


def some_radii(noise: str, alpha: float, rule: str = "group_sequential") -> Certify:
    made = _plan(noise, alpha, rule)
    return lambda smoothed: grid(smoothed, PIXELS, select_draws=SELECT, plan=made)


@cache
def _plan(noise: str, alpha: float, rule: str) -> Plan:
    """A grid whose last radius is a hair too large: the boundary is nearer."""
    radii = [0.0, DISTANCE + 1e-6]
    return plan(thresholds(one_pixel(noise), radii, 1), alpha=alpha, cap=1_000, price=1e6, rule=rule)


def to_the_last_look(noise: str, alpha: float) -> Certify:
    """As an image of a table goes that nobody stops: to its end, or until all is decided."""
    made = table(_plan(noise, alpha, "group_sequential"), 1, 0.0, "group_sequential")
    radii, last = (0.0, DISTANCE + 1e-6), len(made.plan.looks) - 1
    return lambda smoothed: in_rounds(
        smoothed, PIXELS, select_draws=SELECT, table=made, radii=radii, label=1, until=last
    )


def hit(noise: str) -> float:
    """The lattice classifier's probability of class 1, exactly."""
    p = cell_probabilities(parse(noise), LEVELS)
    return float(p[len(p) // 2 + ceil(EDGE) - CELL :].sum())


def chance_of_a_false_claim(noise: str, alpha: float) -> float:
    """With a fixed budget, exactly: class 1 is selected, and the Clopper-Pearson bound exceeds its probability."""
    p, hits = hit(noise), np.arange(1, DRAWS + 1)
    least = hits[beta.ppf(alpha, hits, DRAWS - hits + 1) > p].min()
    return float(binom.sf(SELECT / 2, SELECT, p) * binom.sf(least - 1, DRAWS, p))


def false_claims(records: list[dict], name: str, distance: float = DISTANCE) -> int:
    return sum(record["selected"] == 1 and record["radii"][name] > distance for record in records)


def too_many(found: int, count: int, chance: float = ALPHA) -> bool:
    """Whether so many false claims have probability below 1e-6 where each has at most `chance`."""
    return bool(binom.sf(found - 1, count, chance) < FALSE_ALARM)


@pytest.mark.parametrize(("noise", "name"), NOISES)
def test_the_radius_is_known(noise: str, name: str) -> None:
    assert CERTIFICATES[name].radius(hit(noise), None, parse(noise).scale) == pytest.approx(DISTANCE, rel=1e-12)


def fixed_covers(noise: str, name: str, count: int) -> None:
    records = certificates(one_pixel(noise), count, full(ALPHA))
    found, exact = false_claims(records, name), chance_of_a_false_claim(noise, ALPHA)
    assert exact < ALPHA
    assert not too_many(found, count, exact)
    assert not too_many(count - found, count, 1 - exact)  # and not too few: the draws are what the theory says
    assert not too_many(false_claims(records, name + "_two_sided"), count)


def grid_covers(noise: str, name: str, count: int, procedure: Callable[[str, float], Certify], share: float) -> None:
    found = false_claims(certificates(one_pixel(noise), count, procedure(noise, ALPHA)), name)
    assert not too_many(found, count)
    assert found > count * ALPHA * share  # the level is used, by a rule for any number of draws little of it


@pytest.mark.parametrize(("noise", "name"), NOISES)
def test_a_fixed_budget_covers(noise: str, name: str) -> None:
    fixed_covers(noise, name, QUICK)


@pytest.mark.long
@pytest.mark.parametrize(("noise", "name"), NOISES)
def test_a_fixed_budget_covers_large(noise: str, name: str) -> None:
    fixed_covers(noise, name, LONG)


@pytest.mark.long
@pytest.mark.parametrize("distance", [0.05, 0.3])
def test_a_fixed_budget_covers_in_sixteen_pixels_large(distance: float) -> None:
    """Weights of all sizes and signs, a boundary that is no lattice plane: the probability is the normal one."""
    pixels, threshold = image_at(distance)
    smoothed = halfspace("gaussian:0.25", threshold=threshold, batch=10_000)
    found = false_claims(certificates(smoothed, LONG, full(ALPHA, pixels), pixels), "gaussian_l2", distance)
    assert found > LONG * ALPHA * 0.5
    assert not too_many(found, LONG)


GRIDS = pytest.mark.parametrize(
    ("procedure", "share"),
    [(some_radii, 0.5), (partial(some_radii, rule="beta_mixture"), 0.05), (to_the_last_look, 0.5)],
    ids=["group_sequential", "beta_mixture", "table"],
)


@GRIDS
@pytest.mark.parametrize(("noise", "name"), NOISES)
def test_a_grid_covers(noise: str, name: str, procedure, share: float) -> None:
    grid_covers(noise, name, QUICK, procedure, share)


@pytest.mark.long
@GRIDS
@pytest.mark.parametrize(("noise", "name"), NOISES)
def test_a_grid_covers_large(noise: str, name: str, procedure, share: float) -> None:
    grid_covers(noise, name, LONG, procedure, share)


@pytest.mark.parametrize(
    "procedure", [lambda noise: full(2 * ALPHA), lambda noise: some_radii(noise, 2 * ALPHA)], ids=["fixed", "grid"]
)
@pytest.mark.parametrize(("noise", "name"), NOISES)
def test_mutant_doubled_alpha_is_noticed(noise: str, name: str, procedure) -> None:
    assert too_many(false_claims(certificates(one_pixel(noise), QUICK, procedure(noise)), name), QUICK)
