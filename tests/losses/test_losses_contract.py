"""What every loss promises: one row each. A new method adds its rows here."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gambeson import losses
from gambeson.losses import terms as shared

# name -> (keys, keys at strength zero, where the loss is cross-entropy, None: nowhere; does it draw noise)
TABLE: dict[str, list[tuple[dict[str, Any], dict[str, Any] | None, bool]]] = {
    "adversarial": [
        ({"eps": 0.1, "steps": 3, "random_start": False}, {"eps": 0.0, "random_start": False}, False),
        ({"eps": 0.2, "norm": "l2", "steps": 2, "random_start": False}, {"eps": 0.0, "norm": "l2"}, False),
    ],
    "cat_rs": [({"sigma": 0.3}, {"sigma": 0.0, "weight": 0.0, "draws": 1}, True)],
    "consistency": [({"sigma": 0.3, "weight": 5.0}, {"sigma": 0.0, "weight": 0.0, "entropy": 0.0}, True)],
    "cure": [({"h": 0.5}, {"h": 0.5, "weight": 0.0}, False)],
    "fast": [({"eps": 0.1}, {"eps": 0.0}, True), ({"eps": 0.3, "norm": "l2"}, {"eps": 0.0, "norm": "l2"}, True)],
    "input_gradient": [({"weight": 2.0}, {"weight": 0.0}, False)],
    "llr": [
        ({"eps": 0.1, "steps": 3}, {"eps": 0.0, "lam": 0.0}, True),
        ({"eps": 0.1, "steps": 2, "search": "official"}, {"eps": 0.1, "lam": 0.0, "mu": 0.0}, True),
        ({"eps": 0.1, "search": "loss", "slope": "gradient_norm"}, {"eps": 0.0, "mu": 0.0}, True),
        ({"eps": 0.2, "norm": "l2", "step_rule": "normalised"}, {"eps": 0.0}, True),
    ],
    "macer": [({"sigma": 0.3, "draws": 4}, {"sigma": 0.0, "weight": 0.0, "draws": 2}, True)],
    "mart": [({"eps": 0.1, "steps": 2, "step_size": 0.02}, None, True)],
    "pixeldp": [({"sigma": 0.3}, {"sigma": 0.0}, True), ({"sigma": 0.5, "draws": 3}, {"sigma": 0.0}, True)],
    "plain": [({}, {}, False)],
    "smoothadv": [
        ({"sigma": 0.3, "eps": 0.5}, {"sigma": 0.0, "eps": 0.0}, True),
        ({"sigma": 0.3, "eps": 0.5, "attack": "ddn"}, {"sigma": 0.0, "eps": 0.0, "draws": 1}, True),
        ({"sigma": 0.3, "eps": 0.5, "gradient": "stein", "draws": 4}, {"sigma": 0.0, "eps": 0.0}, True),
        ({"sigma": 0.3, "eps": 0.5, "consistency": 5.0, "stability": 2.0}, {"sigma": 0.0, "eps": 0.0}, True),
    ],
    "smoothmix": [({"sigma": 0.3, "step_size": 0.5}, {"sigma": 0.0, "step_size": 0.5, "weight": 0.0}, True)],
    "trades": [
        ({"eps": 0.1, "steps": 3}, {"eps": 0.1, "beta": 0.0}, True),
        ({"eps": 0.3, "steps": 3, "norm": "l2"}, {"eps": 0.3, "beta": 0.0}, True),
    ],
    "noisy": [
        ({"sigma": 0.3}, {"sigma": 0.0}, True),
        ({"sigma": 0.3, "draws": 2, "noise": "laplace"}, {"sigma": 0.0, "draws": 2}, True),
        ({"sigma": 0.3, "noise": "uniform"}, {"sigma": 0.0}, True),
        ({"sigma": 0.3, "noise": "splitting"}, {"sigma": 0.0, "noise": "splitting"}, True),
    ],
    "stability": [
        ({"sigma": 0.3, "weight": 2.0}, {"sigma": 0.3, "weight": 0.0}, True),
        ({"sigma": 0.3, "weight": 6.0, "divergence": "kl"}, {"sigma": 0.0, "weight": 6.0, "divergence": "kl"}, True),
        (
            {"sigma": 0.8, "weight": 2.0, "noise": "splitting"},
            {"sigma": 0.8, "weight": 0.0, "noise": "splitting"},
            True,
        ),
    ],
}
ROWS = [pytest.param(losses.get(name), *row, id=f"{name}-{i}") for name in TABLE for i, row in enumerate(TABLE[name])]
X = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.arange(12) % 3


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).double()


def total(loss: Any, model: nn.Module, method: dict, seed: int = 0, x: Tensor = X, y: Tensor = Y) -> Tensor:
    terms, state = loss({"model": model}, x, y, state={}, generator=torch.Generator().manual_seed(seed), **method)
    assert state == {}
    assert all(term.ndim == 0 for term in terms.values())
    return sum(terms.values(), torch.zeros((), dtype=torch.float64))


def gradient(loss: Any, method: dict, seed: int = 0) -> Tensor:
    model = network()
    return torch.cat(
        [g.flatten() for g in torch.autograd.grad(total(loss, model, method, seed), list(model.parameters()))]
    )


def test_every_loss_has_rows_and_the_common_arguments() -> None:
    assert set(TABLE) == set(losses.__all__)
    for name in losses.__all__:
        assert list(inspect.signature(losses.get(name)).parameters)[:5] == ["players", "x", "y", "state", "generator"]


@pytest.mark.parametrize(("loss", "method", "zero", "random"), ROWS)
def test_gradients_are_finite_and_not_zero(loss: Any, method: dict, zero: dict, random: bool) -> None:
    found = gradient(loss, method)
    assert bool(found.isfinite().all())
    assert bool(found.any())


@pytest.mark.parametrize("scale", [1e3, 1e6])
@pytest.mark.parametrize(("loss", "method", "zero", "random"), ROWS)
def test_huge_logits_give_finite_gradients(loss: Any, method: dict, zero: dict, random: bool, scale: float) -> None:
    model = network()
    with torch.no_grad():
        model[3].weight *= scale  # type: ignore[index, operator]
    found = torch.autograd.grad(total(loss, model, method), list(model.parameters()))
    assert all(bool(g.isfinite().all()) for g in found)


@pytest.mark.parametrize(("loss", "method", "zero", "random"), ROWS)
def test_strength_zero_is_cross_entropy(loss: Any, method: dict, zero: dict | None, random: bool) -> None:
    if zero is None:
        pytest.skip("it is cross-entropy at no strength")
    model = network()
    expected = nn.functional.cross_entropy(model(X), Y).item()
    assert total(loss, model, zero).item() == pytest.approx(expected, abs=1e-12)
    assert torch.allclose(gradient(loss, zero), gradient(losses.plain, {}), atol=1e-12)


@pytest.mark.parametrize(("loss", "method", "zero", "random"), ROWS)
def test_repeats_under_a_seed_and_only_then(loss: Any, method: dict, zero: dict, random: bool) -> None:
    assert torch.equal(gradient(loss, method, 1), gradient(loss, method, 1))
    assert torch.equal(gradient(loss, method, 1), gradient(loss, method, 2)) != random


@pytest.mark.parametrize(("loss", "method", "zero", "random"), ROWS)
def test_noise_is_fresh_at_every_call(loss: Any, method: dict, zero: dict, random: bool) -> None:
    model, generator = network(), torch.Generator().manual_seed(0)
    first, second = (
        sum(loss({"model": model}, X, Y, state={}, generator=generator, **method)[0].values()) for _ in "ab"
    )
    assert (first.item() != second.item()) == random


def flat(size: tuple) -> tuple:
    return tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size


@pytest.mark.parametrize(("loss", "method", "zero", "random"), ROWS)
def test_the_order_of_the_images_does_not_matter(
    loss: Any, method: dict, zero: dict, random: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With noise that follows its image, a permuted batch has the same loss: no term mixes up rows."""
    draws = torch.randn(12, 1, 4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda *size, dtype=None, **_: torch.full(flat(size), 0.3, dtype=dtype))
    monkeypatch.setattr(torch, "randn", lambda *size, dtype=None, **_: torch.full(flat(size), 0.3, dtype=dtype))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(6))
    model, found = network(), []
    for rows in (torch.arange(12), order):
        calls = iter(range(100))

        def draw(noise: Any, shape: Any, *_: Any, rows: Tensor = rows, calls: Any = calls) -> Tensor:
            return noise.scale * draws[rows].repeat(shape[0] // 12, 1, 1, 1) / (1 + next(calls))

        monkeypatch.setattr(shared, "draw", draw)
        found.append(total(loss, model, method, x=X[rows], y=Y[rows]).item())
    assert found[0] == pytest.approx(found[1], abs=1e-12)


@pytest.mark.parametrize(("loss", "method", "zero", "random"), ROWS)
def test_half_precision_of_autocast_is_only_the_network_s(loss: Any, method: dict, zero: dict, random: bool) -> None:
    """What is added up is float32, and about what it is without."""
    model, generator = network().float(), torch.Generator().manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        terms, _ = loss({"model": model}, X.float(), Y, state={}, generator=generator, **method)
    assert all(term.dtype == torch.float32 for term in terms.values())
    exact, _ = loss(
        {"model": model}, X.float(), Y, state={}, generator=torch.Generator().manual_seed(0), **method
    )  # fmt: skip
    near = pytest.approx(sum(exact.values()).item(), rel=0.1, abs=0.05)
    assert sum(terms.values()).item() == near or "steps" in method  # an attack may go another way


@pytest.mark.parametrize(("loss", "method", "zero", "random"), ROWS)
def test_touches_neither_the_global_generator_nor_the_model(loss: Any, method: dict, zero: dict, random: bool) -> None:
    model = network()
    before, state = [p.clone() for p in model.parameters()], torch.get_rng_state()
    total(loss, model, method)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, q) and p.grad is None for p, q in zip(model.parameters(), before, strict=True))
    assert all(module.training for module in model.modules())
