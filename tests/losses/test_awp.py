"""Adversarial weight perturbation around every method."""

import inspect
from typing import Any

import pytest
import torch
from test_losses_contract import TABLE, X, Y, network
from torch import Tensor, nn

from gambeson import data, losses, models
from gambeson.build import check
from gambeson.errors import UserError
from gambeson.recipe import load
from gambeson.training import train

ATTACKS = ["adversarial", "fast", "trades", "mart", "llr", "smoothadv", "smoothmix", "cat_rs"]


def total(terms: dict[str, Tensor]) -> Tensor:
    return sum(terms.values(), torch.zeros((), dtype=torch.float64))


def asked(name: str, model: nn.Module, awp: float, seed: int = 0) -> Tensor:
    loss = losses.get(name, ["awp"])
    generator = torch.Generator().manual_seed(seed)
    return total(loss({"model": model}, X, Y, state={}, generator=generator, awp=awp, **TABLE[name][0][0])[0])


@pytest.mark.parametrize("name", losses.__all__)
def test_the_gradient_is_that_at_the_worst_weights(name: str) -> None:
    """By hand: the gradient at w gives the direction, layer by layer; then the method's own at w + v, its attack and
    its noise being those of w.
    """
    options, gamma = TABLE[name][0][0], 0.05
    model = network()
    parameters = list(model.parameters())
    found = torch.autograd.grad(asked(name, model, gamma), parameters)
    kept: list[Any] = []
    with losses.terms.keeping(kept):
        terms, _ = losses.get(name)(
            {"model": model}, X, Y, state={}, generator=torch.Generator().manual_seed(0), **options
        )
    first = torch.autograd.grad(total(terms), parameters)
    moved = network()
    with torch.no_grad():
        for w, g in zip(moved.parameters(), first, strict=True):
            if w.dim() > 1:
                w += gamma * w.norm() * g / g.norm()
    with losses.terms.keeping(iter(kept)):
        terms, _ = losses.get(name)(
            {"model": moved}, X, Y, state={}, generator=torch.Generator().manual_seed(0), **options
        )
    expected = torch.autograd.grad(total(terms), list(moved.parameters()))
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-9)
    assert not all(torch.allclose(a, b) for a, b in zip(found, first, strict=True))


@pytest.mark.parametrize("name", losses.__all__)
def test_strength_zero_is_the_method(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    terms, _ = losses.get(name)({"model": network()}, X, Y, state={}, generator=generator, **TABLE[name][0][0])
    assert asked(name, network(), 0.0).item() == pytest.approx(total(terms).item(), abs=1e-12)


@pytest.mark.parametrize("name", ATTACKS)
def test_it_attacks_once(name: str) -> None:
    calls, model = [], network()
    model.register_forward_hook(lambda *_: calls.append(1))
    asked(name, model, 0.05)
    twice = len(calls)
    generator = torch.Generator().manual_seed(0)
    losses.get(name)({"model": model}, X, Y, state={}, generator=generator, **TABLE[name][0][0])
    alone = len(calls) - twice
    assert twice < 2 * alone


def test_weights_are_left_as_they_were() -> None:
    model, fresh = network(), network()
    asked("trades", model, 0.5).backward()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), fresh.parameters(), strict=True))


def test_running_averages_see_the_second_pass_alone() -> None:
    def averages(words: dict) -> Tensor:
        torch.manual_seed(0)
        layer = nn.BatchNorm1d(16)
        model = nn.Sequential(nn.Flatten(), layer, nn.Linear(16, 3)).double()
        generator = torch.Generator().manual_seed(0)
        losses.get("trades", words)({"model": model}, X, Y, state={}, generator=generator, eps=0.1, steps=2, **words)
        assert int(layer.num_batches_tracked) == 1
        return layer.running_mean

    assert torch.equal(averages({"awp": 0.05}), averages({}))


def test_it_is_a_key_of_every_method() -> None:
    train(
        models.build("digits_cnn", classes=10, shape=(1, 8, 8)), data.load("digits", "train").every(1, 40),
        loss="fast", method={"eps": 0.1, "awp": 0.005}, epochs=1, batch=20, ratio_steps=0,
    )  # fmt: skip
    assert "awp" in inspect.signature(losses.get("trades", ["awp"])).parameters
    check(load("mnist-trades-0.3", ["method.awp=0.005"]))
    with pytest.raises(UserError, match="awp is -1"):
        check(load("mnist-trades-0.3", ["method.awp=-1.0"]))
