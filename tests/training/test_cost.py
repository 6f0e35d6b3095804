"""Passes are counted where they happen; the ratio is measured without touching the run."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gambeson.training import train
from gambeson.training.cost import Counts, counting, ratio_to_plain

X, Y = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 3
PLAIN = (1, 1, 0, 12)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))


def penalty(players: Any, x: Any, y: Any, *, state: Any, generator: Any) -> Any:
    x = x.requires_grad_()
    loss = cross_entropy(players["model"](x), y)
    (slope,) = torch.autograd.grad(loss, x, create_graph=True)
    return {"cross_entropy": loss, "penalty": slope.square().sum()}, state


def attacked(players: Any, x: Any, y: Any, *, state: Any, generator: Any) -> Any:
    """Three gradient steps on the image, then one clean pass."""
    for _ in range(3):
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(cross_entropy(players["model"](x), y), x)
        x = x + 0.01 * slope.sign()
    return {"cross_entropy": cross_entropy(players["model"](x.detach()), y)}, state


@pytest.mark.parametrize(
    ("loss", "method", "expected"),
    [
        ("plain", {}, PLAIN),
        ("noisy", {"sigma": 0.1, "draws": 3}, (1, 1, 0, 36)),
        ("stability", {"sigma": 0.1}, (1, 1, 0, 24)),
        # create_graph leaves one backward to differentiate; the last backward goes through both graphs
        (penalty, {}, (1, 2, 1, 12)),
        (attacked, {}, (4, 4, 0, 48)),
    ],
)
def test_counts_of_one_step(loss: Any, method: dict, expected: tuple[int, ...]) -> None:
    cost = train(
        network(), [(X, Y)], loss=loss, method=method, validation=[(X, Y)], epochs=1, batch=12, ratio_steps=0
    ).cost
    names = ("forward_passes", "backward_passes", "double_backward_passes", "examples_forward")
    assert tuple(cost[name] for name in names) == expected


def test_counting_leaves_no_hooks_and_changes_no_gradient() -> None:
    model, counts = network(), Counts()
    expected = torch.autograd.grad(cross_entropy(model(X), Y), list(model.parameters()))
    with counting({"model": model}, counts):
        found = torch.autograd.grad(cross_entropy(model(X), Y), list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    with torch.no_grad(), counting({"model": model}, counts):
        model(X)
    assert (counts.forward_passes, counts.backward_passes) == (2, 1)


def test_the_ratio_changes_no_weight_and_no_count() -> None:
    kept = []
    for steps in (0, 5):
        model = network()
        result = train(model, [(X, Y)], loss="noisy", method={"sigma": 0.1}, epochs=2, batch=4, ratio_steps=steps)
        kept.append((torch.cat([p.detach().flatten() for p in model.parameters()]), result.cost))
    assert torch.equal(kept[0][0], kept[1][0])
    assert kept[0][1]["forward_passes"] == kept[1][1]["forward_passes"] == 6
    assert kept[0][1]["ratio_to_plain"] is None
    assert kept[1][1]["ratio_to_plain"] > 0
    assert kept[1][1]["ratio_steps"] == 5


def test_steps_alternate_and_the_ratio_is_of_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = [0.0], []
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def step(name: str, seconds: float) -> Any:
        def take() -> None:
            order.append(name)
            clock[0] += 1000 if len(order) == 10 else seconds  # one hiccup of the machine

        return take

    assert ratio_to_plain(5, step("method", 3.0), step("plain", 1.5), lambda: None) == pytest.approx(2.0)
    assert order == ["method", "plain"] * 8  # 3 of each are not timed
    assert ratio_to_plain(0, step("method", 1.0), step("plain", 1.0), lambda: None) is None
