"""The smallest perturbations against foolbox's, on trained nets: at equal budgets, no farther by more than 2 %."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import foolbox as fb
import pytest
import torch

from gambeson import data, models
from gambeson.attacks import NEAREST_ATTACKS
from gambeson.geometry import distance
from gambeson.models import frozen

ROWS = 40
ORACLES: dict[str, tuple[str, dict[str, Any], Any]] = {
    "deepfool, l2": (
        "l2", {"norm": "l2", "steps": 50, "candidates": None}, lambda: fb.attacks.L2DeepFoolAttack(steps=50),
    ),
    "deepfool, linf": (
        "linf", {"norm": "linf", "steps": 50, "candidates": None}, lambda: fb.attacks.LinfDeepFoolAttack(steps=50),
    ),
    "ddn": ("l2", {"steps": 100}, lambda: fb.attacks.DDNAttack(steps=100)),
    "carlini_wagner_l2": (
        "l2", {"steps": 200, "searches": 6},
        lambda: fb.attacks.L2CarliniWagnerAttack(steps=200, binary_search_steps=6),
    ),
    "boundary": ("l2", {"queries": 2_500}, lambda: fb.attacks.BoundaryAttack(steps=2_000)),
}  # fmt: skip


RESULTS = Path(__file__).parents[2] / "results" / "mnist-lenet"


@pytest.fixture(
    params=["blobs", *(pytest.param(name, marks=pytest.mark.long) for name in ("mnist-plain", "mnist-stability-0.50"))]
)
def attacked(request, trained) -> SimpleNamespace:
    if request.param == "blobs":
        return trained
    if not os.environ.get("GAMBESON_DATA"):
        pytest.skip("GAMBESON_DATA is not set: no real data")
    net = models.load(RESULTS / request.param / "model.safetensors").eval()
    images = data.load("mnist", "test").every(250, ROWS)
    return SimpleNamespace(net=net, x=images.pixels(), y=images.labels)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ORACLES)
def test_no_farther_than_foolbox(attacked, name: str) -> None:
    norm, options, oracle = ORACLES[name]
    net, x, y = attacked.net, attacked.x[:ROWS], attacked.y[:ROWS]
    with frozen(net), torch.random.fork_rng():
        torch.manual_seed(0)
        _, theirs, _ = oracle()(fb.PyTorchModel(net, bounds=(0, 1), device="cpu"), x, y, epsilons=None)
        ours = NEAREST_ATTACKS[name.partition(",")[0]](net, x, y, **options)
        fell = (net(theirs).argmax(1) != y) & (theirs.flatten(1).amax(1) > 0)  # black ones: its C&W found nothing
    assert ours.success.sum() >= fell.sum()
    far = distance(theirs.double() - x.double(), norm)
    both = fell & ours.success
    assert both.sum() > ROWS // 2
    assert ours.distance[both].median() <= 1.02 * far[both].median()
