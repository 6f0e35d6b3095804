"""Reductions to other norms and to changed pixels: against every perturbation of small images, in exact arithmetic."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch

from gambeson.certificates.reductions import changed_pixels, other_norm
from gambeson.errors import UserError
from gambeson.sampling import to_lattice

POWER = {"l1": 1, "l2": 2}
# Radii that are reached exactly by some perturbation, just below, just above, and between.
RADII = [0.1, 0.5, 0.9999999, 1.0, 1 + 1e-12, 1.25, 1.4142, 1.4143, 1.5, 1.7320, 1.7321, 2.0, 2.0000001, 3.0, 9.0]


def lengths(levels, values):
    """Every perturbation of whole levels in [-1, 1]^values: its p-th power sums in exact units, and its entries."""
    moves = np.array(list(product(range(-levels, levels + 1), repeat=values)))
    return moves, {norm: (np.abs(moves) ** p).sum(1) for norm, p in POWER.items()}


def inside(sums, norm, levels, radius):
    """Whether ||delta|| < radius, decided in fractions."""
    bound = (Fraction(radius) * levels) ** POWER[norm]
    return np.array([int(total) < bound for total in sums[norm]])


@pytest.mark.parametrize("norm", POWER)
@pytest.mark.parametrize(("values", "levels"), [(1, 4), (2, 4), (3, 3), (4, 2)])
def test_linf_covers_exactly_what_the_certificate_covers(norm, values, levels):
    moves, sums = lengths(levels, values)
    largest = np.abs(moves).max(1)
    for radius in RADII:
        covered = inside(sums, norm, levels, radius)
        reduced = other_norm(radius, norm, "linf", values)
        for level in range(levels + 1):
            assert (level / levels < reduced) == covered[largest <= level].all(), (radius, level)


@pytest.mark.parametrize("norm", POWER)
@pytest.mark.parametrize(("values", "channels"), [(1, 1), (4, 1), (6, 1), (4, 2), (6, 3), (6, 2)])
def test_changed_pixels_covers_exactly_what_the_certificate_covers(norm, values, channels):
    moves, sums = lengths(1, values)
    changed = (moves.reshape(len(moves), -1, channels) != 0).any(2).sum(1)
    for radius in RADII:
        covered = inside(sums, norm, 1, radius)
        most = max(k for k in range(values // channels + 1) if covered[changed <= k].all())
        assert changed_pixels(radius, norm, values, channels) == most, radius


def test_the_enumeration_rejects_a_closed_ball_and_forgotten_channels():
    moves, sums = lengths(1, 4)
    changed = (moves != 0).sum(1)
    assert not inside(sums, "l2", 1, 2.0)[changed <= int(2.0**2)].all()
    assert changed_pixels(2.0, "l2", 4) == 3
    pairs = (moves.reshape(-1, 2, 2) != 0).any(2).sum(1)
    assert not inside(sums, "l2", 1, 1.5)[pairs <= changed_pixels(1.5, "l2", 4)].all()


@pytest.mark.parametrize("values", [2, 64, 784, 3072, 150_528])
def test_the_extremal_perturbation_reaches_equality(values):
    """d equal entries of the reduced radius: never longer than the radius, and shorter by rounding only."""
    for radius in np.random.default_rng(values).uniform(0.01, 4, 200).tolist():
        for norm, to, power in [("l2", "linf", 2), ("l1", "linf", 1), ("l1", "l2", 2)]:
            # Equal entries e are e in linf, sqrt(d) e in l2, d e in l1: the squared or plain factor is d.
            length = values * Fraction(other_norm(radius, norm, to, values)) ** power
            assert 1 - Fraction(1, 10**14) < length / Fraction(radius) ** power <= 1


def test_towards_a_larger_norm_the_radius_stays():
    for norm, to in [("l2", "l2"), ("l2", "l1"), ("linf", "l1"), ("linf", "l2"), ("l1", "l1")]:
        assert other_norm(0.7, norm, to, 784) == 0.7


def test_published_linf_radius():
    """Salman et al. 2019: linf 2/255 on CIFAR-10 from l2 0.435 = 111/255."""
    assert other_norm(111 / 255, "l2", "linf", 3072) > 2 / 255 > other_norm(110 / 255, "l2", "linf", 3072)


def test_shapes_and_extremes():
    assert isinstance(other_norm(1.0, "l2", "linf", 784), float)
    assert isinstance(changed_pixels(1.5, "l2", 784), int)
    table = np.array([[0.0, 1.5, np.inf], [0.2, 3.9, 1e300]])
    assert other_norm(table, "l2", "linf", 784).shape == (2, 3)
    assert changed_pixels(table, "l2", 784).tolist() == [[0, 2, 784], [0, 15, 784]]
    assert changed_pixels(np.inf, "l1", 3072, 3) == 1024
    assert other_norm(np.inf, "l1", "linf", 3072) == np.inf
    assert other_norm(0.0, "l1", "linf", 3072) == 0.0
    assert other_norm(np.zeros((0, 3)), "l1", "linf", 4).shape == changed_pixels(np.zeros((0, 3)), "l1", 4).shape


@pytest.mark.parametrize("levels", [16, 255])
def test_rounding_keeps_real_perturbations_of_whole_levels_and_of_few_pixels(levels):
    """Why radii on the pixel lattice hold against real-valued perturbations in linf (whole levels) and l0."""
    generator = torch.Generator().manual_seed(levels)
    cells = torch.randint(0, levels + 1, (200, 1, 4, 4), generator=generator)
    x = cells.float() / levels
    for level in (1, 2, 8):
        sign = torch.randint(0, 2, x.shape, generator=generator) * 2 - 1
        for delta in (sign * level / levels, (torch.rand(x.shape, generator=generator) * 2 - 1) * level / levels):
            moved = to_lattice((x + delta).clamp(0, 1), levels) - cells
            assert moved.abs().max() <= level
    few = torch.rand(x.shape, generator=generator) < 0.1
    moved = to_lattice(torch.where(few, torch.rand(x.shape, generator=generator), x), levels) - cells
    assert not moved[~few].any()
    half = to_lattice(x[x < 0.5] + 1.5 / levels, levels) - cells[x < 0.5]
    assert half.max() == 2  # between two levels, rounding leaves the ball


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((-1.0, "l2", "linf", 4), "radius = -1"), ((np.nan, "l2", "linf", 4), "radius = nan"),
     (("x", "l2", "linf", 4), "radius = 'x'"), ((1.0, "l3", "linf", 4), "norm is 'l3'"),
     ((1.0, "l2", "l0", 4), "to is 'l0'"), ((1.0, "l2", "linf", 0), "values is 0"),
     ((1.0, "l2", "linf", 2.5), "values is 2.5")],
)  # fmt: skip
def test_bad_arguments_of_other_norm_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        other_norm(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1.0, "linf", 4), "norm is 'linf'"), ((-1.0, "l2", 4), "radius = -1"), ((1.0, "l2", 4, 3), "channels is 3"),
     ((1.0, "l2", 4, 0), "channels is 0"), ((1.0, "l2", -4), "values is -4")],
)  # fmt: skip
def test_bad_arguments_of_changed_pixels_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        changed_pixels(*arguments)
