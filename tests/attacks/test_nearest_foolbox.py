"""The smallest perturbations against foolbox's, on a trained net: at equal budgets, no farther by more than 2 %."""

from typing import Any

import foolbox as fb
import pytest
import torch

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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ORACLES)
def test_no_farther_than_foolbox(trained, name: str) -> None:
    norm, options, oracle = ORACLES[name]
    x, y = trained.x[:ROWS], trained.y[:ROWS]
    with frozen(trained.net), torch.random.fork_rng():
        torch.manual_seed(0)
        _, theirs, _ = oracle()(fb.PyTorchModel(trained.net, bounds=(0, 1), device="cpu"), x, y, epsilons=None)
        ours = NEAREST_ATTACKS[name.partition(",")[0]](trained.net, x, y, **options)
        fell = trained.net(theirs).argmax(1) != y
    assert ours.success.sum() >= fell.sum()
    far = distance(theirs.double() - x.double(), norm)
    both = fell & ours.success
    assert both.sum() > ROWS // 2
    assert ours.distance[both].median() <= 1.02 * far[both].median()
