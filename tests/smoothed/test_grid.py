"""A grid of radii: what is claimed is true as often as promised, and costs fewer draws than a full radius."""

from functools import cache
from math import nextafter

import numpy as np
import pytest
import torch
from halfspaces import ONE, certify, halfspace, image_at

from gambeson.errors import UserError
from gambeson.sampling import Counts
from gambeson.smoothed.company import together
from gambeson.smoothed.grid import grid, thresholds
from gambeson.smoothed.procedure import ABSTAIN, Ask
from gambeson.stats import plan

RADII = [0.0, 0.1, 0.25, 0.5]


@cache
def _made(noise: str, values: int, options: tuple):
    chosen = {"radii": tuple(RADII), "alpha": 0.001, "cap": 20_000, "price": 1e6, **dict(options)}
    return plan(thresholds(halfspace(noise), chosen.pop("radii"), values), **chosen)


def made(smoothed, values: int, **options):
    """A plan takes a tenth of a second: not one for every image."""
    frozen = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    return _made(smoothed.noise.noise.name, values, tuple(sorted(frozen.items())))


def run(smoothed, pixels, index=0, label=None, select_draws=50, **options):
    procedure = grid(
        smoothed, pixels, select_draws=select_draws, plan=made(smoothed, pixels.numel(), **options), label=label
    )
    return together(smoothed, [procedure], pixels[None], [index])[0]


@pytest.mark.parametrize("noise", ["gaussian:0.25", "laplace:0.2", "uniform:0.5"])
def test_a_threshold_is_the_least_probability_from_which_the_radius_follows(noise):
    smoothed = halfspace(noise)
    name = smoothed.certificates()[0].name
    for radius, p in zip(RADII[:3], thresholds(smoothed, RADII[:3], 16), strict=True):
        here, below = (smoothed.one_sided_radii(smoothed.less_tau(q, 16))[name] for q in (p, nextafter(p, 0)))
        assert here >= radius
        assert here > 0
        assert below < radius or (radius == 0 and below == 0)


@pytest.mark.parametrize("distance", [0.05, 0.2, 0.3, 0.6])
def test_it_certifies_the_radii_below_the_distance_and_none_above(distance):
    pixels, edge = image_at(distance)
    record = run(halfspace("gaussian:0.25", threshold=edge), pixels)
    radius = record["radii"]["gaussian_l2"]
    assert radius <= distance
    assert record["radius_kind"] == "grid"
    clear = [r for r in RADII if r < distance - 0.04]
    assert radius >= max(clear)
    assert record["predict"] == record["selected"] == 1


def test_the_record_holds_every_look():
    pixels, edge = image_at(0.3)
    smoothed = halfspace("gaussian:0.25", threshold=edge)
    record = run(smoothed, pixels)
    draws, hits = zip(*record["looks"], strict=True)
    chosen = made(smoothed, 16)
    assert list(draws) == list(chosen.looks[: len(draws)])
    assert list(hits) == sorted(hits)
    assert (draws[-1], hits[-1]) == (record["draws"], record["counts"][1])
    assert sum(record["counts"]) == record["draws"] < 20_000
    level = 0
    for look, (n, k) in enumerate(record["looks"]):  # a reader can replay it
        level = chosen.level(look, n - k, level)
    assert record["p_lower"] == smoothed.less_tau(chosen.thresholds[level - 1], 16)


def test_it_agrees_with_a_fixed_budget_and_takes_fewer_draws():
    smoothed = halfspace("gaussian:0.25", ONE, 90.5 / 255)
    pixels = torch.full((1, 1, 1), 128 / 255)
    full = certify(smoothed, pixels, index=3, select_draws=50, draws=20_000, alpha=0.001)
    found = run(smoothed, pixels, 3)
    assert found["selected"] == full["selected"]
    below = [r for r in RADII if r <= full["radii"]["gaussian_l2"]]
    assert found["radii"]["gaussian_l2"] == pytest.approx(max(below), abs=1e-9)
    assert found["draws"] < 10_000
    start = found["looks"][0]
    assert start[1] <= full["counts"][1]


def test_what_is_sent_decides_and_nothing_else():
    """The procedure replayed from counts: no model, no noise."""
    smoothed = halfspace("gaussian:0.25")
    procedure = grid(smoothed, torch.zeros(1, 4, 4), select_draws=10, plan=made(smoothed, 16))
    ask = next(procedure)
    assert ask == Ask("select", 0, 10)
    ask = procedure.send(Counts(np.array([1, 9, 0]), 10))
    asked, record = 0, None
    while record is None:
        assert (ask.stage, ask.first) == ("estimate", asked)
        asked += ask.draws
        try:
            ask = procedure.send(Counts(np.array([0, ask.draws, 0]), ask.draws))
        except StopIteration as done:
            record = done.value
    assert (record["selected"], record["stopped"], record["draws"]) == (1, "all radii certified", asked)
    assert asked < 20_000


def test_a_hopeless_image_abstains_early_and_a_wrong_one_can_be_left_alone():
    smoothed = halfspace("gaussian:0.25", ONE, 0.5)
    tie = torch.full((1, 1, 1), 127 / 255)
    hopeless = run(smoothed, tie, radii=[0.1, 0.25])
    assert (hopeless["predict"], hopeless["radii"]["gaussian_l2"]) == (ABSTAIN, 0.0)
    assert hopeless["stopped"] == "not worth more draws"
    wrong = run(smoothed, torch.ones(1, 1, 1), label=0)
    assert (wrong["predict"], wrong["draws"], wrong["looks"], wrong["stopped"]) == (ABSTAIN, 0, [], "wrong")
    assert run(smoothed, torch.ones(1, 1, 1), label=1)["predict"] == 1


@pytest.mark.parametrize("radii", [[], [0.5, 0.25], [-0.1], [0.25, 0.25]])
def test_what_is_no_grid_is_refused(radii):
    with pytest.raises(UserError, match="must increase"):
        thresholds(halfspace("gaussian:0.25"), radii, 16)


def test_a_radius_that_no_probability_gives_is_refused():
    with pytest.raises(UserError, match="cannot be certified with uniform"):
        thresholds(halfspace("uniform:0.5"), [0.0, 0.6], 16)
