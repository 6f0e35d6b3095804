"""Certificates of every noisy copy: every lattice image within every radius is asked, for networks as for tables."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gambeson.errors import UserError
from gambeson.inference import Form, serve
from gambeson.noise import lattice, parse
from gambeson.smoothed.classifier import SmoothedClassifier
from gambeson.smoothed.company import together
from gambeson.smoothed.exact import every_copy, exact, largest_exact_radii
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.rounding import real_radii, rounding_distance

LEVELS = 6


def network(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))
        model[1].weight.data *= 12
        model[1].bias.data = -model[1].weight.data.sum(1) / 2  # classes meet in the middle of the cube
    return model.eval()


def smoothed(noise: str = "splitting:0.5", seed: int = 0, run: int = 0, levels: int = LEVELS) -> Smoothed:
    return Smoothed(serve(network(seed), Form("float32", "contiguous", 50)), lattice(parse(noise), levels), 3, run)


def every_image() -> Tensor:
    return torch.tensor(list(product(range(LEVELS + 1), repeat=3))).float().reshape(-1, 1, 1, 3) / LEVELS


def certify(classifier: Smoothed, pixels: Tensor, index: int = 0) -> dict:
    return together(classifier, [exact(classifier, pixels)], pixels[None], [index])[0]


@pytest.mark.parametrize("noise", ["splitting:0.25", "splitting:0.5", "splitting:0.75"])
def test_no_image_within_a_radius_has_another_class(noise: str) -> None:
    images = every_image()
    steps = (images.flatten(1) * LEVELS).round()
    largest = 0.0
    for seed in range(4):
        classifier = smoothed(noise, seed)
        records = together(classifier, [exact(classifier, x) for x in images], images, list(range(len(images))))
        answers = np.array([record["predict"] for record in records])
        assert len(set(answers.tolist())) > 1
        closest = []
        for row, record in enumerate(records):
            apart = (steps - steps[row]).abs().sum(1).numpy()
            radius = record["radii"]["splitting_l1"]
            assert (answers[apart <= radius * LEVELS + 1e-9] == record["predict"]).all()
            closest.append(apart[answers != record["predict"]].min() - radius * LEVELS)
            largest = max(largest, radius)
        assert min(closest) == 1  # one step more, and another class wins
    assert largest <= largest_exact_radii(classifier)["splitting_l1"]


def test_real_valued_images_within_the_real_radius_have_no_other_class() -> None:
    """Perturbations in all directions, just inside: single values by more than half a step, and all at once."""
    classifier, images = smoothed("splitting:1.5", seed=1), every_image()[::7]
    records = [certify(classifier, image) for image in images]
    held = [record["radii_real"]["splitting_l1"] for record in records]
    assert max(held) > 0.3
    generator, tried = torch.Generator().manual_seed(0), 0
    for image, record, radius in zip(images, records, held, strict=True):
        assert radius <= record["radii"]["splitting_l1"]
        for shape in range(12):
            direction = torch.randn(image.shape, generator=generator, dtype=torch.float64)
            direction[..., shape % 4 :] *= 1e-6 if shape % 4 else 1
            moved = image + direction / direction.abs().sum() * radius * (1 - 1e-9)
            if 0 <= moved.min() <= moved.max() <= 1 and radius:
                tried += 1
                assert classifier.predict(moved, index=0, draws=1, alpha=0.5)[0] == record["predict"]
    assert tried > 50


def test_rounding_at_most_doubles_a_perturbation() -> None:
    """Half the radius where the rounding distance would eat it up: 3 values on 6 levels, 1/4 of a pixel in l1."""
    classifier = smoothed("splitting:1.5", seed=1)
    assert rounding_distance(3, LEVELS)["l1"] == pytest.approx(0.25)
    for radius, expected in ((0.2, 0.1), (0.4, 0.2), (0.5, 0.25), (1.0, 0.75)):
        found = real_radii(torch.zeros(1, 1, 3), {"splitting_l1": radius}, classifier.norms(), LEVELS)["splitting_l1"]
        assert expected * (1 - 1e-5) < found < expected
    image = torch.full((1, 1, 3), 0.1 / LEVELS)
    off = real_radii(image, {"splitting_l1": 0.4}, classifier.norms(), LEVELS)["splitting_l1"]
    assert off == pytest.approx(0.2 - 3 * 0.1 / LEVELS, abs=1e-5)


def test_a_record_counts_every_copy_and_is_exact() -> None:
    classifier, image = smoothed("splitting:1.5"), every_image()[100]
    record = certify(classifier, image)
    assert sum(record["counts"]) + record["nonfinite"] == 18 == every_copy(classifier).draws
    assert Fraction(record["p_lower"]) == Fraction(record["counts"][record["selected"]] / 18)
    assert (record["radius_kind"], record["select_counts"], record["reason"]) == ("exact", [], None)
    assert largest_exact_radii(classifier) == {"splitting_l1": 9 / LEVELS}
    assert classifier.tau(3) == 0


def test_nothing_but_image_and_noise_changes_the_counts() -> None:
    """Not the run's seed, the index, the purpose or the batch: the noise's name says which function it is."""
    image = every_image()[200]
    expected = certify(smoothed("splitting:1.5"), image)
    assert certify(smoothed("splitting:1.5", run=7), image, index=9) == expected
    label, counts = smoothed("splitting:1.5", run=3).predict(image, index=5, draws=1, alpha=1e-9, purpose="rejudge")
    assert (label, counts.classes.tolist()) == (expected["predict"], expected["counts"])
    other = Smoothed(serve(network(0), Form("float32", "contiguous", 7)), lattice(parse("splitting:1.5"), LEVELS), 3)
    assert certify(other, image)["counts"] == expected["counts"]


def test_ties_go_to_the_first_class_and_certify_nothing_for_the_second() -> None:
    """Half of the copies of 1 in a single value lie above 3/4: a tie, which one step down decides."""

    class Threshold(nn.Module):
        def __init__(self, first: int) -> None:
            super().__init__()
            self.first = first

        def forward(self, x: Tensor) -> Tensor:
            side = x.flatten(1)[:, 0] - 0.5
            return torch.stack([side, -side] if self.first else [-side, side], 1)

    for first in (0, 1):
        grid = lattice(parse("splitting:1"), 6)
        one = Smoothed(serve(Threshold(first).eval(), Form("float32", "contiguous", 5)), grid, 2)
        records = [certify(one, torch.full((1, 1, 1), k / 6)) for k in range(7)]
        for record in records:
            winner = int(np.argmax(record["counts"]))
            assert record["predict"] == winner
            if record["counts"][0] == record["counts"][1]:
                assert (winner, record["radii"]["splitting_l1"]) == (0, 0.0)


def test_the_classifier_for_production_answers_always_and_the_same() -> None:
    images = every_image()[::13]
    one, other = (SmoothedClassifier(network(2), "splitting:0.5", 3, levels=LEVELS) for _ in "ab")
    found = one.certify(images)
    assert found.predict.tolist() == one.predict(images, draws=3).tolist() == other.predict(images).tolist()
    assert found.predict.min() >= 0
    assert found.radius_on_lattice.tolist() == [record["radii"]["splitting_l1"] for record in found.records]
    assert found.radius.max() > 0


def test_noise_that_cannot_be_enumerated_is_refused() -> None:
    with pytest.raises(UserError, match=r"gaussian:0\.5 has too many noisy copies"):
        every_copy(smoothed("gaussian:0.5"))
