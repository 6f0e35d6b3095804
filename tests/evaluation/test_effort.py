"""What an attack will take: the calls that are foretold are those that an image which holds out costs."""

from typing import Any

import pytest
import torch
from torch import nn

from gambeson.attacks import ATTACKS
from gambeson.evaluation.attack_options import complete
from gambeson.evaluation.effort import calls, calls_of_a_suite
from gambeson.evaluation.one_attack import run
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


def test_every_attack_on_a_ball_is_looked_at() -> None:
    assert set(OPTIONS) == set(ATTACKS) - {"transfer"}


def test_a_suite_costs_what_its_members_do() -> None:
    ball = Ball("linf", 0.1)
    whole = calls_of_a_suite(preset("strong", ball, 10), 10, "linf", 0.1)
    cut = calls_of_a_suite(preset("strong", ball, 10, share=0.05), 10, "linf", 0.1)
    assert whole.backward > 20_000
    assert cut.backward < 0.2 * whole.backward
    assert calls_of_a_suite(preset("weak", ball, 10), 10, "linf", 0.1).backward < 20
