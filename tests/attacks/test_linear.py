"""Attacks on linear models, where the nearest adversarial point is known: none below it, few far beyond."""

import pytest
import torch
from linear import linear, nearest

from gambeson.attacks import ATTACKS, NEAREST_ATTACKS
from gambeson.types import NORMS, Ball

GRADIENT = {
    "apgd": {"restarts": 2},
    "apgd margin": {"loss": "margin", "restarts": 2},
    "fab": {},
    "multi_targeted": {"steps": 100, "step_size": 0.3},
    "multi_targeted apgd": {"attack": ATTACKS["apgd"], "restarts": 2},
    "multi_targeted fab": {"attack": ATTACKS["fab"]},
}
SCORES = {"spsa": {"samples": 512}, "square": {"queries": 1_000}}


def fooled(name, logits, x, y, ball, options):
    return ATTACKS[name.split()[0]](logits, x, y, ball=ball, **options).success


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", [*GRADIENT, *SCORES])
def test_fooled_beyond_the_distance_and_never_below(norm, name):
    # With more classes, the gradient of an untargeted loss points at none of them alone.
    logits, weight, x, y = linear(classes=4 if name.startswith("multi") else 2, away=0.15, norm=norm)
    radii, options = nearest(logits, weight, x, y, norm).values, (GRADIENT | SCORES)[name]
    assert 0.03 < radii.min() < radii.max() < 0.3  # the box is out of reach
    for row, radius in enumerate(radii.tolist()):
        one = slice(row, row + 1)
        for factor, expected in ((1.01 if name in GRADIENT else 1.5, True), (0.99, False)):
            ball = Ball(norm, factor * radius)
            given = options | ({"step_size": ball.eps / 10} if "step_size" in options else {})
            assert fooled(name, logits, x[one], y[one], ball, given).item() is expected, (row, radius, factor)


MINIMAL = {  # what is allowed beyond the distance
    "boundary": ({"queries": 5_000}, ["l2"], 0.10),
    "carlini_wagner_l2": ({}, ["l2"], 0.01),
    "carlini_wagner_linf": ({"step_size": 1e-3, "initial": 1e-3, "shrink": 0.99}, ["linf"], 0.01),
    "ddn": ({"steps": 300}, ["l2"], 0.01),
    "deepfool": ({}, ["l2", "linf"], 0.03),
    "fmn": ({"steps": 1_000}, list(NORMS), 0.01),
}


@pytest.mark.parametrize(("name", "norm"), [(name, norm) for name, (_, norms, _) in MINIMAL.items() for norm in norms])
def test_the_smallest_perturbation_is_found(name, norm):
    """With two classes: with more, the nearest is a matter of luck for all that do not try each of them."""
    options, norms, allowed = MINIMAL[name]
    logits, weight, x, y = linear(away=0.15, norm=norm)
    radii = nearest(logits, weight, x, y, norm).values
    assert 0.03 < radii.min() < radii.max() < 0.3
    found = NEAREST_ATTACKS[name](logits, x, y, **options, **({"norm": norm} if len(norms) > 1 else {}))
    assert found.success.all()
    assert (found.distance >= radii * (1 - 1e-9)).all()
    assert (found.distance <= radii * (1 + allowed)).all(), (found.distance / radii).tolist()


def test_high_confidence_goes_as_far_as_it_must():
    """Two classes: p_t = C where the margin is logit(C), at a distance known in closed form."""
    logits, weight, x, y = linear(classes=2)
    gap = logits(x).gather(1, y[:, None])[:, 0] - logits(x).gather(1, 1 - y[:, None])[:, 0]
    for confidence in (0.6, 0.9):
        beyond = torch.logit(torch.tensor(confidence, dtype=torch.float64))
        wanted = (gap + beyond) / torch.linalg.vector_norm(weight[0] - weight[1])
        found = NEAREST_ATTACKS["high_confidence"](logits, x, y, confidence=confidence, step_size=0.01, steps=2_000)
        assert found.success.all()
        assert (logits(found.x_adv).softmax(1).gather(1, 1 - y[:, None]) >= confidence).all()
        assert (found.distance >= wanted * (1 - 1e-9)).all()
        assert (found.distance <= wanted * 1.03).all()


@pytest.mark.parametrize(("name", "norm"), [("deepfool", "l2"), ("deepfool", "linf"), ("carlini_wagner_l2", "l2")])
def test_the_nearest_of_several_classes_is_found(name, norm):
    logits, weight, x, y = linear(classes=4, away=0.15, norm=norm)
    radii = nearest(logits, weight, x, y, norm).values
    found = NEAREST_ATTACKS[name](logits, x, y, **({"norm": norm} if name == "deepfool" else {}))
    assert (found.distance >= radii * (1 - 1e-9)).all()
    assert (found.distance <= radii * 1.03).all()
