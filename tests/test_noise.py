"""The lattice noise's table against the true rounded distribution, in mpmath (its draws: tests/test_draws.py)."""

from dataclasses import replace
from itertools import pairwise
from math import ceil

import mpmath
import numpy as np
import pytest
import torch
from exact_cells import boundary, true_tail
from scipy.stats import kstest

from gambeson.errors import UserError
from gambeson.keys import generator
from gambeson.noise import Noise, draw, lattice, parse
from gambeson.noise.additive import BITS, FIRST, TAIL_ERROR, Additive, _tail

SMALL = [Noise(kind, scale) for kind in ("gaussian", "laplace", "uniform") for scale in (0.001, 0.01, 0.05, 0.25)]
LARGE = [Noise(kind, scale) for kind in ("gaussian", "laplace", "uniform") for scale in (0.5, 1.0, 3.7, 10.0)]
# Half-widths that end on a cell's boundary, where differences of floats are at their worst.
EDGES = [Noise("uniform", half / 255) for half in (0.5, np.nextafter(0.5, 1), 0.5 + 1e-12, 1.5, 2.0)]
TABLE = ["gaussian:0.5", "gaussian:0.02", "laplace:0.3", "uniform:0.4", "uniform:0.003"]


@pytest.fixture(autouse=True)
def _precision() -> object:
    with mpmath.workdps(40):
        yield


def drawn_probabilities(grid: Additive) -> list[int]:
    """Each cell's probability as it is drawn, times 2^63, lowest cell first."""
    ends = [0, *grid.thresholds.tolist(), 2**BITS]
    return [after - before for before, after in pairwise(ends)]


def total_variation(grid: Additive) -> mpmath.mpf:
    """Between the cells as they are drawn and the rounded real noise: half the sum over all cells, tails included."""
    levels, noise, top = grid.levels, grid.noise, -grid.lowest
    tails = [true_tail(noise, boundary(k, levels)) for k in range(top + 1)]  # P(cell > k)
    truth = [1 - 2 * tails[0]] + [tails[k - 1] - tails[k] for k in range(1, top + 1)]
    found = drawn_probabilities(grid)
    gap = sum(abs(mpmath.mpf(p) / 2**BITS - truth[abs(i - top)]) for i, p in enumerate(found))
    return (gap + 2 * tails[top]) / 2


@pytest.mark.parametrize("levels", [16, 255])
@pytest.mark.parametrize("noise", [*SMALL, *EDGES, Noise("gaussian", 0.5)], ids=lambda n: n.name)
def test_total_variation_is_within_tau(noise: Noise, levels: int) -> None:
    grid = lattice(noise, levels)
    assert total_variation(grid) <= grid.tau
    assert grid.tau < 1e-13 * (4 + noise.scale * levels)  # and small: an image has at most some 10^5 values


@pytest.mark.long
@pytest.mark.parametrize("levels", [1, 16, 255])
@pytest.mark.parametrize("noise", LARGE, ids=lambda n: n.name)
def test_total_variation_is_within_tau_large(noise: Noise, levels: int) -> None:
    test_total_variation_is_within_tau(noise, levels)


def test_tau_is_not_vacuous() -> None:
    """The mutant: a table of 32 bits is refused by the same oracle."""
    grid = lattice(Noise("gaussian", 0.5), 255)
    coarse = (grid.thresholds >> 31) << 31
    assert total_variation(replace(grid, thresholds=coarse)) > 100 * grid.tau


@pytest.mark.parametrize("noise", [*LARGE, Noise("gaussian", 0.01), Noise("laplace", 0.01)], ids=lambda n: n.name)
@pytest.mark.parametrize("levels", [16, 255])
def test_the_tail_error_is_an_upper_bound(noise: Noise, levels: int) -> None:
    """Over the whole range that a table uses, tails down to 2^-64: relative, plus 1e-16 absolute for the uniform."""
    reach = ceil({"gaussian": 9.2, "laplace": 43.7, "uniform": 1.0}[noise.kind] * noise.scale * levels)
    cells = np.unique(np.r_[np.linspace(0, reach - 1, 60).astype(int), np.arange(max(0, reach - 5), reach)])
    found = _tail(noise, (cells + 0.5) * (1 / levels))
    for cell, tail in zip(cells.tolist(), found.tolist(), strict=True):
        truth = true_tail(noise, boundary(cell, levels))
        assert abs(tail - truth) <= TAIL_ERROR / 3 * truth + (3e-16 if noise.kind == "uniform" else 0)


@pytest.mark.parametrize("levels", [16, 255])
@pytest.mark.parametrize("noise", SMALL + LARGE, ids=lambda n: n.name)
def test_the_table_is_symmetric_and_increasing(noise: Noise, levels: int) -> None:
    grid = lattice(noise, levels)
    assert (np.diff(grid.thresholds) >= 0).all()
    assert len(grid.thresholds) == -2 * grid.lowest
    probabilities = drawn_probabilities(grid)
    assert probabilities == probabilities[::-1]
    assert sum(probabilities) == 2**BITS


def test_far_tails_are_drawn_as_often_as_they_should() -> None:
    """Beyond 4 sigma, where 16 bits decide nothing: the count is binomial."""
    grid, draws = lattice(Noise("gaussian", 0.05), 255), 4_000_000
    cells = np.abs(grid.sample((draws,), generator("far tails")))
    for sigmas in (3.5, 4.0, 4.5):
        first = ceil(sigmas * 0.05 * 255)
        expected = 2 * float(true_tail(grid.noise, boundary(first - 1, 255))) * draws
        assert abs((cells >= first).sum() - expected) < 4.5 * np.sqrt(expected) + 1


class Replayed:
    """A generator whose draws are given."""

    def __init__(self, *draws: np.ndarray) -> None:
        self.draws = list(draws)

    def integers(self, low: int, high: int, size: int, dtype: type) -> np.ndarray:
        found = self.draws.pop(0)
        assert len(found) == size
        return found.astype(dtype)


@pytest.mark.parametrize("name", TABLE)
def test_the_first_16_bits_agree_with_a_search_among_all_63(name: str) -> None:
    """For every first half there is, with the second half random, lowest and highest."""
    grid = lattice(parse(name), 255)
    first = np.arange(2**FIRST, dtype=np.uint16)
    undecided = first[grid.first[first] < 0].astype(np.int64)
    assert 0 < len(undecided) < 2**FIRST / 8
    low, high = np.zeros(len(undecided), np.int64), np.full(len(undecided), (1 << (BITS - FIRST)) - 1)
    random = np.random.default_rng(0).integers(0, 1 << (BITS - FIRST), len(undecided))
    for second in (low, high, random):
        found = grid.sample((2**FIRST,), Replayed(first.view(np.uint64), second))  # type: ignore[arg-type]
        for rest in (0, (1 << (BITS - FIRST)) - 1):  # where 16 bits decide, any rest gives the same
            full = (first.astype(np.int64) << (BITS - FIRST)) + rest
            full[undecided] = (undecided << (BITS - FIRST)) | second
            plain = np.searchsorted(grid.thresholds, full, side="right") + grid.lowest
            assert np.array_equal(found, plain)


def test_draws_do_not_depend_on_how_a_block_is_shaped() -> None:
    grid = lattice(Noise("laplace", 0.3), 255)
    flat = grid.sample((600,), generator("shape"))
    assert np.array_equal(grid.sample((100, 1, 2, 3), generator("shape")).ravel(), flat)
    assert flat.dtype == np.int16
    # Two halves are not the whole: hence blocks are generated whole (gambeson/sampling.py).
    source = generator("shape")
    assert not np.array_equal(np.r_[grid.sample((300,), source), grid.sample((300,), source)], flat)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5])
def test_sizes_that_are_no_multiple_of_four(size: int) -> None:
    assert lattice(Noise("uniform", 1.0), 16).sample((size, 1), generator("size")).shape == (size, 1)


@pytest.mark.parametrize("kind", ["gaussian", "laplace", "uniform"])
def test_the_widest_noise_stays_far_from_overflow(kind: str) -> None:
    grid = lattice(Noise(kind, 10.0), 255)  # type: ignore[arg-type]
    extreme = np.array([0, 2**64 - 1], dtype=np.uint64)
    second = np.array([0] * 4 + [(1 << (BITS - FIRST)) - 1] * 4)
    cells = grid.sample((8,), Replayed(extreme, second if grid.first[0] < 0 else second[:0]))  # type: ignore[arg-type]
    assert (cells.min(), cells.max()) == (grid.lowest, -grid.lowest)
    assert 255 - grid.lowest < 2**24  # image + noise is exact in float32
    with pytest.raises(UserError, match="2\\^24"):
        lattice(Noise("laplace", 10.0), 10**6)


def test_noise_far_below_a_lattice_step_is_no_noise() -> None:
    grid = lattice(Noise("gaussian", 1e-5), 255)
    assert not grid.sample((1000,), generator("tiny")).any()
    assert total_variation(grid) <= grid.tau


@pytest.mark.parametrize(
    "text",
    [
        *("", "gaussian", "gaussian:", "gaussian:x", "gauss:0.5", "0.5", "gaussian:0", "gaussian:-1", "gaussian:nan"),
        *("gaussian:inf", "gaussian:64", "laplace:1:2", "uniform:1e-400"),
    ],
)
def test_noise_that_cannot_be_parsed(text: str) -> None:
    with pytest.raises(UserError, match=r"gaussian:0\.5|\(0, 10\]"):
        parse(text)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1, 0.1, 1 / 3, 100 / 255, 1e-7, 0.12345678, 0.12345679])
def test_a_name_is_the_noise(scale: float) -> None:
    """Keys and evaluation ids are made of it: rounding it would let two noises share both."""
    assert parse(Noise("gaussian", scale).name) == Noise("gaussian", scale)
    assert Noise("gaussian", 0.5).name == "gaussian:0.5"
    assert Noise("uniform", 1.0).name == Noise("uniform", 1).name == "uniform:1"


@pytest.mark.parametrize("levels", [0, -1])
def test_a_lattice_has_levels(levels: int) -> None:
    with pytest.raises(UserError, match="levels"):
        lattice(Noise("gaussian", 0.5), levels)


@pytest.mark.parametrize("name", ["gaussian:0.5", "laplace:0.3", "uniform:0.4"])
def test_real_valued_draws_follow_their_law(name: str) -> None:
    noise = parse(name)
    source = torch.Generator().manual_seed(0)
    values = draw(noise, (50_000,), source, "cpu", torch.float32).double().numpy()
    law = {"gaussian": "norm", "laplace": "laplace", "uniform": "uniform"}[noise.kind]
    arguments = (-noise.scale, 2 * noise.scale) if noise.kind == "uniform" else (0, noise.scale)
    assert kstest(values, law, arguments).pvalue > 1e-4
    assert np.isfinite(values).all()
    again = draw(noise, (50_000,), torch.Generator().manual_seed(0), "cpu", torch.float32)
    assert np.array_equal(values, again.double().numpy())


@pytest.mark.parametrize(("scale", "dtype"), [(0.05, np.int16), (7.0, np.int16), (7.2, np.int32), (10.0, np.int32)])
def test_cells_and_their_sums_with_pixels_fit_their_type(scale: float, dtype: type) -> None:
    grid = lattice(Noise("gaussian", scale), 255)
    assert grid.first.dtype == dtype
    assert len(grid.thresholds) <= np.iinfo(dtype).max  # positions, and ~positions
    assert len(grid.thresholds) + grid.lowest + 255 <= np.iinfo(dtype).max
