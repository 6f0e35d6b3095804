"""The sampler's draws at full size: every cell, the tails, the moments, and independence, against exact probabilities.

A true sampler fails one run of these tests with probability below 1e-6 (each of its p-values at 1e-6 over their
number); the keys are fixed, so what passes once passes for good.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from exact_cells import cell_probabilities
from numpy.typing import NDArray
from scipy.stats import chi2

from gambeson.keys import stream
from gambeson.noise import lattice, parse
from gambeson.noise.additive import BITS

FALSE_ALARM, PART, QUICK, LONG = 1e-6, 1_000_000, 10_000_000, 1_000_000_000
# Four values share one random word: neighbours in it, the same place of the next word, a pixel of the next image.
LAGS = (1, 2, 3, 4, 784)
NOISES = [
    ("gaussian:0.25", 255),
    ("gaussian:1", 255),
    ("laplace:0.5", 255),
    ("uniform:0.5", 255),
    ("gaussian:0.25", 16),
]
MORE = [("gaussian:0.5", 255), ("gaussian:0.02", 255), ("uniform:0.003", 255), ("laplace:1", 16), ("laplace:0.3", 1)]
Sampler = Callable[[int], NDArray[np.signedinteger]]


def honest(name: str, levels: int) -> Sampler:
    """Part k of the draws, each from a key of its own."""
    grid = lattice(parse(name), levels)
    return lambda part: grid.sample((PART,), stream("draws", name, levels, part))


def p_values(name: str, levels: int, draws: int, sampler: Sampler) -> dict[str, float]:
    """Of every statistic: chi-square over cells and over pairs of octiles, moments and products as squared z-values."""
    p = cell_probabilities(parse(name), levels)
    top, variance = len(p) // 2, _moment(p, 2)
    group, octile = _groups(p, 100 / draws), _octiles(p)
    eighths = np.bincount(octile, p)
    seen = np.zeros(len(p), np.int64)
    products = dict.fromkeys([*(f"lag {lag}" for lag in LAGS), "next key"], 0.0)
    pairs = {what: np.zeros(eighths.size**2, np.int64) for what in ("lag 1", "lag 4", "next key")}
    before = sampler(-1).astype(np.float64)
    last = octile[before.astype(np.int64) + top]
    for part in range(draws // PART):
        cells = sampler(part)
        position = cells.astype(np.int64) + top
        seen += np.bincount(position, minlength=len(p))
        real, eighth = cells.astype(np.float64), octile.take(position)
        for lag in LAGS:
            products[f"lag {lag}"] += real[lag:] @ real[:-lag]
        products["next key"] += real @ before
        for lag in (1, 4):
            pairs[f"lag {lag}"] += np.bincount(eighth[lag:] * eighths.size + eighth[:-lag], minlength=eighths.size**2)
        pairs["next key"] += np.bincount(eighth * eighths.size + last, minlength=eighths.size**2)
        before, last = real, eighth
    found = {"cells": _chi_square(np.bincount(group, seen), np.bincount(group, p))}
    for order in (1, 2, 4):
        mean = sum(int(count) * cell**order for cell, count in zip(range(-top, top + 1), seen, strict=True)) / draws
        spread = _moment(p, 2 * order) - _moment(p, order) ** 2
        found[f"moment {order}"] = _two_sided((mean - _moment(p, order)) * np.sqrt(draws / spread))
    for what, total in products.items():
        lost = int(what.removeprefix("lag ")) if what != "next key" else 0
        found[f"product, {what}"] = _two_sided(total / variance / np.sqrt(draws / PART * (PART - lost)))
    for what, counts in pairs.items():
        found[f"pairs, {what}"] = _chi_square(counts, np.outer(eighths, eighths).ravel())
    return found


def alarms(found: dict[str, float]) -> set[str]:
    return {what for what, p in found.items() if p < FALSE_ALARM / len(found)}


def _moment(p: NDArray[np.float64], order: int) -> float:
    cells = np.arange(-(len(p) // 2), len(p) // 2 + 1, dtype=np.float64)
    return float(cells**order @ p) if order % 2 == 0 else 0.0


def _groups(p: NDArray[np.float64], at_least: float) -> NDArray[np.int64]:
    """Each cell's group: neighbours are pooled until a group is that likely, the far tails into the outermost ones."""
    group, total, groups, rest = np.zeros(len(p), np.int64), 0.0, 0, p[::-1].cumsum()[::-1] - p
    for i, mass in enumerate(p):
        group[i], total = groups, total + mass
        if total >= at_least and rest[i] >= at_least:
            groups, total = groups + 1, 0.0
    return group


def _octiles(p: NDArray[np.float64]) -> NDArray[np.int64]:
    """Each cell's eighth of the probability, as nearly as whole cells allow; numbered without gaps."""
    return np.unique(np.minimum(7, (8 * (p.cumsum() - p / 2)).astype(np.int64)), return_inverse=True)[1]


def _chi_square(counts: NDArray[np.int64], p: NDArray[np.float64]) -> float:
    expected = p / p.sum() * counts.sum()
    used = expected > 0
    return float(chi2.sf(((counts - expected)[used] ** 2 / expected[used]).sum(), used.sum() - 1))


def _two_sided(z: float) -> float:
    return float(chi2.sf(z**2, 1))


@pytest.mark.parametrize(("name", "levels"), NOISES)
def test_draws_are_independent_and_exact(name: str, levels: int) -> None:
    assert alarms(p_values(name, levels, QUICK, honest(name, levels))) == set()


@pytest.mark.long
@pytest.mark.parametrize(("name", "levels"), NOISES + MORE)
def test_draws_are_independent_and_exact_large(name: str, levels: int) -> None:
    assert alarms(p_values(name, levels, LONG, honest(name, levels))) == set()


def coarse(bits: int) -> Sampler:
    """A table of fewer bits."""
    grid = lattice(parse("gaussian:0.25"), 255)
    rounded = replace(grid, thresholds=(grid.thresholds >> (BITS - bits)) << (BITS - bits))
    return lambda part: rounded.sample((PART,), stream("coarse", part))


def shifted(mass: float) -> Sampler:
    """One threshold off: so much probability goes from one of the two middle cells to the other."""
    grid = lattice(parse("gaussian:0.25"), 255)
    thresholds = grid.thresholds.copy()
    thresholds[-grid.lowest] += int(mass * 2**BITS)

    def sample(part: int) -> NDArray[np.signedinteger]:
        source = stream("shifted", part)
        full = source.integers(0, 2**BITS, PART)
        return np.searchsorted(thresholds, full, side="right") + grid.lowest

    return sample


def repeated(part: int) -> NDArray[np.signedinteger]:
    """One key used twice."""
    return honest("gaussian:0.25", 255)(4 if part == 5 else part)


def sticky(every: int) -> Sampler:
    """Every so manyth value is its neighbour's."""

    def sample(part: int) -> NDArray[np.signedinteger]:
        cells = honest("gaussian:0.25", 255)(part)
        cells[1::every] = cells[::every]
        return cells

    return sample


@pytest.mark.parametrize(
    ("mutant", "noticed"),
    [
        pytest.param(coarse(16), {"cells", "moment 4"}, id="16 bits"),
        pytest.param(shifted(4e-4), {"cells"}, id="shifted"),
        pytest.param(repeated, {"product, next key", "pairs, next key"}, id="repeated"),
        pytest.param(sticky(200), {"product, lag 1", "pairs, lag 1"}, id="sticky"),
    ],
)
def test_a_defect_is_noticed(mutant: Sampler, noticed: set[str]) -> None:
    assert noticed <= alarms(p_values("gaussian:0.25", 255, QUICK, mutant))


@pytest.mark.long
@pytest.mark.parametrize(
    ("mutant", "noticed"),
    [
        pytest.param(coarse(22), {"cells"}, id="22 bits"),
        pytest.param(shifted(4e-5), {"cells"}, id="shifted"),
        pytest.param(repeated, {"product, next key", "pairs, next key"}, id="repeated"),
        pytest.param(sticky(2000), {"product, lag 1", "pairs, lag 1"}, id="sticky"),
    ],
)
def test_a_small_defect_is_noticed_large(mutant: Sampler, noticed: set[str]) -> None:
    assert noticed <= alarms(p_values("gaussian:0.25", 255, LONG, mutant))
