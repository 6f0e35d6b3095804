"""What an attack will take: the calls that are foretold are those that an image which holds out costs."""

import sys
from typing import Any

import pytest
import torch
from torch import nn

from gambeson.attacks import ATTACKS, NEAREST_ATTACKS
from gambeson.attacks.by_name import complete, own_norm, run
from gambeson.evaluation import attacked
from gambeson.evaluation.effort import Planned, calls, members_of, seconds
from gambeson.suites import preset
from gambeson.types import Ball


class Steadfast(nn.Module):
    """Always class 0, by a margin that every attack can climb along but not over; counts rows, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.forward_rows = self.backward_rows = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.forward_rows += len(x)
        slope = x.flatten(1).mean(1)
        if slope.requires_grad:
            slope.register_hook(self.count)
        return torch.stack([20 - slope, slope, 0.5 * slope, 0.3 * slope, 0.2 * slope], 1)

    def count(self, gradient: torch.Tensor) -> None:
        self.backward_rows += len(gradient)


OPTIONS: dict[str, dict[str, Any]] = {
    "fgsm": {}, "pgd": {"steps": 30, "restarts": 2}, "apgd": {"steps": 30, "restarts": 2},
    "square": {"queries": 80}, "spsa": {"steps": 4, "samples": 16}, "random_noise": {"draws": 90},
    "multi_targeted": {"steps": 20, "restarts": 1, "classes": 2}, "fab": {"steps": 20},
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_calls_are_foretold(name: str) -> None:
    x, y = torch.rand(3, 1, 4, 4), torch.zeros(3, dtype=torch.long)
    plan = complete(name, OPTIONS[name], norm="linf", eps=0.05)
    net = Steadfast()
    found = run(name, plan, net, x, y, norm="linf", eps=0.05, targets=None, keys=[0, 1, 2], source=net)
    assert not found.success.any()
    told = calls(name, plan, classes=5)
    if name != "fab":  # whose backward passes share a forward pass: less than foretold
        assert told.forward + told.backward == pytest.approx(net.forward_rows / 3, rel=0.2, abs=4)
    assert told.forward + told.backward >= 0.8 * net.forward_rows / 3
    assert told.backward == pytest.approx(net.backward_rows / 3, rel=0.2, abs=4)


NEAREST: dict[str, dict[str, Any]] = {
    "ddn": {"steps": 40}, "deepfool": {"steps": 20}, "fmn": {"steps": 40}, "high_confidence": {"steps": 30},
    "carlini_wagner_linf": {"steps": 20}, "carlini_wagner_l2": {"steps": 40, "searches": 3},
}  # fmt: skip


@pytest.mark.parametrize("name", NEAREST)
def test_calls_for_the_smallest_perturbation_are_foretold(name: str) -> None:
    x, y = torch.rand(3, 1, 4, 4), torch.zeros(3, dtype=torch.long)
    plan, net = complete(name, NEAREST[name], norm=own_norm(name), eps=None), Steadfast()
    assert not run(name, plan, net, x, y, norm=own_norm(name), eps=None, targets=None, keys=[0, 1, 2]).success.any()
    told = calls(name, plan, classes=5)
    spent = net.backward_rows / 3
    assert told.backward >= 0.9 * spent - 5
    assert told.backward <= 1.1 * spent + 5 or name == "carlini_wagner_l2"  # a descent that is stuck ends early


def test_every_attack_is_looked_at() -> None:
    assert set(OPTIONS) == set(ATTACKS) - {"transfer"}
    assert set(NEAREST) == set(NEAREST_ATTACKS) - {"boundary"}  # of a classifier that nothing fools it has no start


def test_votes_are_counted_and_an_attack_without_room_is_not(trained, monkeypatch) -> None:
    asked = []

    def told(logits, x, plan, classes, looks):
        asked.append((len(plan), looks))
        return 1.0

    monkeypatch.setattr(sys.modules[attacked.__module__], "seconds", told)
    law = {"noise": "gaussian:0.2", "attack_draws": 4, "predict_draws": 400}
    for options in ({"eps": 0.0}, {"eps": 0.1, **law}, {"eps": 0.1, "attack": "weak", **law}):
        attacked(trained.model, trained.data, **options).effort(list(range(60)))
    assert asked == [(0, 1), (1, 2 * 100), (2, 5 * 100)]


def of_a_suite(name: str, share: float = 1.0) -> float:
    ball = Ball("linf", 0.1)
    members = members_of(preset(name, ball, 10, share=share), ball)
    return sum(calls(attack.name, attack.options, 10).backward for attack in members)


def test_a_suite_costs_what_its_members_do() -> None:
    whole = of_a_suite("strong")
    assert whole > 20_000
    assert of_a_suite("strong", share=0.05) < 0.2 * whole
    assert of_a_suite("weak") < 20


@pytest.mark.parametrize("name", [*ATTACKS, *NEAREST_ATTACKS])
def test_an_attacks_own_work_has_a_price(name: str) -> None:
    norm, eps = (own_norm(name), None) if name in NEAREST_ATTACKS else ("linf", 0.1)
    usual = complete(name, {}, norm=norm, eps=eps)
    spent = seconds(Steadfast(), torch.rand(2, 1, 4, 4), [Planned(name, usual, norm, eps)], classes=5)
    assert 0 < spent < float("inf")


@pytest.mark.parametrize(("name", "option"), [("pgd", "steps"), ("square", "queries"), ("random_noise", "draws")])
def test_ten_times_the_budget_takes_about_ten_times_as_long(name: str, option: str) -> None:
    """By the number of calls, which no clock decides."""
    few, many = (calls(name, complete(name, {option: n}, norm="linf", eps=0.1), classes=5) for n in (1_000, 10_000))
    assert 8 < (many.forward + many.backward) / (few.forward + few.backward) < 12
