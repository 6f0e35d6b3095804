"""Each loss against a value computed by hand, and against the published mistakes."""

from math import log
from typing import Any

import pytest
import torch
from by_hand import NOISE, Scalar, X, Y, ce, p
from torch import Tensor, nn

from gambeson.errors import UserError
from gambeson.losses import adversarial, noisy, plain, stability
from gambeson.losses import terms as shared


def soft(x: float, z: float) -> float:
    """H(p(x), p(z))."""
    return -(p(x) * log(p(z)) + (1 - p(x)) * log(1 - p(z)))


@pytest.fixture
def fixed_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw is +1, -2, then half of that, a third, ... times the scale."""
    calls = iter(range(1, 100))

    def draw(noise: Any, shape: tuple[int, ...], *_: Any) -> Tensor:
        return noise.scale * NOISE.repeat(shape[0] // 2, 1, 1, 1) / next(calls)

    monkeypatch.setattr(shared, "draw", draw)


def call(loss: Any, model: nn.Module | None = None, **method: Any) -> dict[str, Tensor]:
    players = {"model": Scalar() if model is None else model}
    return loss(players, X, Y, state={}, generator=torch.Generator(), **method)[0]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("random_start", [True, False])
def test_adversarial_is_cross_entropy_at_the_far_end_of_the_ball(norm: str, random_start: bool) -> None:
    found = call(adversarial, eps=0.1, norm=norm, steps=5, random_start=random_start)["cross_entropy"].item()
    assert found == pytest.approx((ce(0.2 - 0.1, 0) + ce(0.7 + 0.1, 1)) / 2, abs=1e-9)


def test_adversarial_examples_are_images() -> None:
    found = call(adversarial, eps=0.5, steps=5)["cross_entropy"].item()
    assert found == pytest.approx((ce(0.0, 0) + ce(1.0, 1)) / 2, abs=1e-9)


def test_adversarial_starts_are_fresh_and_of_the_generator() -> None:
    """One step far too short to matter: the loss is that of the start."""
    found = []
    for seed in (0, 0, 1):
        options = {"eps": 0.1, "steps": 1, "step_size": 1e-9}
        terms, _ = adversarial(
            {"model": Scalar()}, X, Y, state={}, generator=torch.Generator().manual_seed(seed), **options
        )
        found.append(terms["cross_entropy"].item())
    assert found[0] == found[1] != found[2]


def test_adversarial_needs_the_gradient_in_the_weights_alone() -> None:
    """d/da of CE(a x', y) at x' held fixed: no second order."""
    model = Scalar()
    call(adversarial, model, eps=0.1, steps=5)["cross_entropy"].backward()
    expected = (-(1 - p(0.1)) * 0.1 + p(0.8) * 0.8) / 2
    assert model.a.grad.item() == pytest.approx(expected, abs=1e-9)


def test_plain() -> None:
    assert call(plain)["cross_entropy"].item() == pytest.approx((ce(0.2, 0) + ce(0.7, 1)) / 2, abs=1e-12)


@pytest.mark.usefixtures("fixed_noise")
def test_noisy() -> None:
    """Not clipped: 0.7 - 2 * 0.5 stays negative."""
    expected = (ce(0.2 + 0.5, 0) + ce(0.7 - 1.0, 1)) / 2
    assert call(noisy, sigma=0.5)["cross_entropy"].item() == pytest.approx(expected, abs=1e-12)


def test_noisy_by_splitting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thresholds 0.4 and 0.9, cells of width 1: 0.2 lies in [0, 0.4], 0.7 in [0, 0.9]."""
    thresholds = torch.tensor([[[[0.4]]], [[[0.9]]]], dtype=torch.float64)
    monkeypatch.setattr(shared, "draw", lambda *_: thresholds)
    expected = (ce(0.2, 0) + ce(0.45, 1)) / 2
    assert call(noisy, sigma=0.5, noise="splitting")["cross_entropy"].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.usefixtures("fixed_noise")
def test_stability() -> None:
    found = call(stability, sigma=0.5, weight=2.0)
    assert found["cross_entropy"].item() == pytest.approx((ce(0.2, 0) + ce(0.7, 1)) / 2, abs=1e-12)
    assert found["stability"].item() == pytest.approx(2 * (soft(0.2, 0.7) + soft(0.7, -0.3)) / 2, abs=1e-12)


@pytest.mark.usefixtures("fixed_noise")
def test_stability_is_not_one_of_the_published_mistakes() -> None:
    found = call(stability, sigma=0.5)["stability"].item()
    augmentation = (ce(0.7, 0) + ce(-0.3, 1)) / 2  # CE(f(x + e), y)
    raw = -(1.5 * 0.2 * log(p(0.7)) + 1.5 * 0.7 * log(p(-0.3))) / 2  # raw logits (a x, 0) as the target
    assert abs(found - augmentation) > 0.05
    assert abs(found - raw) > 0.05


@pytest.mark.usefixtures("fixed_noise")
def test_kl_form_noises_both_copies() -> None:
    first, second = (0.2 + 0.5, 0.7 - 1.0), (0.2 + 0.25, 0.7 - 0.5)
    divergence = sum(soft(a, b) - soft(a, a) for a, b in zip(first, second, strict=True)) / 2
    found = call(stability, sigma=0.5, weight=6.0, divergence="kl")
    assert found["cross_entropy"].item() == pytest.approx((ce(first[0], 0) + ce(first[1], 1)) / 2, abs=1e-12)
    assert found["stability"].item() == pytest.approx(6 * divergence, abs=1e-12)


@pytest.mark.parametrize("divergence", ["cross_entropy", "kl"])
def test_the_gradient_flows_through_both_predictions(divergence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against central differences of the whole loss: a detached target would miss a part of the slope."""
    calls, halves = iter(range(100)), int(divergence == "kl")  # kl draws twice: equal draws would make it zero
    monkeypatch.setattr(shared, "draw", lambda noise, *_: noise.scale * NOISE / (1 + halves * (next(calls) % 2)))
    step = 1e-6

    def term(a: float) -> Tensor:
        return call(stability, Scalar(a), sigma=0.5, divergence=divergence)["stability"]

    model = Scalar(1.5)
    found = torch.autograd.grad(call(stability, model, sigma=0.5, divergence=divergence)["stability"], model.a)[0]
    slope = (term(1.5 + step) - term(1.5 - step)).item() / (2 * step)
    assert found.item() == pytest.approx(slope, abs=1e-7)
    detached = torch.autograd.grad(detached_term(model := Scalar(1.5), divergence), model.a)[0]
    assert abs(detached.item() - slope) > 1e-3  # the mutant that this test is there to catch


def detached_term(model: nn.Module, divergence: str) -> Tensor:
    first = X if divergence == "cross_entropy" else X + 0.5 * NOISE
    second = X + 0.5 * NOISE if divergence == "cross_entropy" else X + 0.25 * NOISE
    function = shared.soft_cross_entropy if divergence == "cross_entropy" else shared.kl_divergence
    return function(model(first).detach(), model(second))


def test_several_draws_average() -> None:
    """m draws equal the mean of the losses of each copy."""
    generator = torch.Generator().manual_seed(3)
    copies = X.repeat(3, 1, 1, 1) + 0.5 * torch.randn((6, 1, 1, 1), generator=generator, dtype=torch.float64)
    expected = plain({"model": Scalar()}, copies, Y.repeat(3), state={}, generator=generator)[0]["cross_entropy"]
    found, _ = noisy(
        {"model": Scalar()}, X, Y, state={}, generator=torch.Generator().manual_seed(3), sigma=0.5, draws=3
    )
    assert found["cross_entropy"].item() == pytest.approx(expected.item(), abs=1e-12)


def test_batch_norm_sees_the_mixture() -> None:
    """Stated on the method's page: one pass of clean and noisy rows together updates the running averages."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3))
    x, y = torch.rand(32, 1, 4, 4), torch.arange(32) % 3
    stability({"model": model}, x, y, state={}, generator=torch.Generator().manual_seed(1), sigma=2.0)
    noise = 2.0 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    both = torch.cat([x, x + noise]).flatten(1)
    assert int(model[1].num_batches_tracked) == 1
    assert torch.allclose(model[1].running_var, 0.9 + 0.1 * both.var(0), atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "method", "message"),
    [
        (noisy, {"sigma": -0.5}, r"noise scale is -0.5; it must be in \(0, 10\]"),
        (noisy, {"sigma": 0.5, "noise": "gausian"}, "noise kind is 'gausian'"),
        (noisy, {"sigma": 0.5, "draws": 0}, "draws is 0; it must be an integer >= 1"),
        (stability, {"sigma": 0.5, "weight": -1.0}, "weight is -1.0; it must be finite and >= 0"),
        (stability, {"sigma": 0.5, "divergence": "js"}, "divergence is 'js'; it must be cross_entropy or kl"),
    ],
)
def test_values_outside_their_range_are_refused(loss: Any, method: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call(loss, **method)
