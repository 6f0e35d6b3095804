"""Methods that train on neighbours or on gradients to the image, against values computed by hand."""

import sys
from math import exp, log
from typing import Any

import pytest
import torch
from by_hand import Scalar, X, Y, ce, p
from torch import Tensor, nn

from gambeson import geometry
from gambeson.errors import UserError
from gambeson.losses import cure, fast, input_gradient, llr, mart, trades
from gambeson.losses.mart import log_without_largest


def call(loss: Any, model: nn.Module | None = None, **method: Any) -> dict[str, float]:
    players = {"model": Scalar() if model is None else model}
    terms, _ = loss(players, X, Y, state={}, generator=torch.Generator(), **method)
    return {name: term.item() for name, term in terms.items()}


@pytest.fixture
def upwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random starts lie above x."""
    monkeypatch.setattr(torch, "randn", lambda size, dtype=None, **_: torch.ones(size, dtype=dtype))


def kl(x: float, z: float) -> float:
    return sum(a * (log(a) - log(b)) for a, b in ((p(x), p(z)), (1 - p(x), 1 - p(z))))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_fast_is_one_step_to_the_end_of_the_ball(norm: str) -> None:
    found = call(fast, eps=0.1, norm=norm, step_size=0.2)["cross_entropy"]
    assert found == pytest.approx((ce(0.2 - 0.1, 0) + ce(0.7 + 0.1, 1)) / 2, abs=1e-9)


def test_fast_takes_the_published_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """1.25 eps from the near end: it stops short of the far one, 2 eps away."""
    ends = torch.tensor([[[[0.1]]], [[[-0.1]]]], dtype=torch.float64)
    monkeypatch.setattr(geometry, "anywhere", lambda x, ball, generator: x + ends)
    found = call(fast, eps=0.1)["cross_entropy"]
    assert found == pytest.approx((ce(0.3 - 0.125, 0) + ce(0.6 + 0.125, 1)) / 2, abs=1e-9)


@pytest.mark.usefixtures("upwards")
def test_trades() -> None:
    found = call(trades, eps=0.1, beta=6.0, steps=4)
    assert found["cross_entropy"] == pytest.approx((ce(0.2, 0) + ce(0.7, 1)) / 2, abs=1e-12)
    assert found["trades"] == pytest.approx(6 * (kl(0.2, 0.3) + kl(0.7, 0.8)) / 2, abs=1e-9)


@pytest.mark.usefixtures("upwards")
def test_trades_differentiates_both_predictions() -> None:
    model, step = Scalar(), 1e-6
    terms, _ = trades({"model": model}, X, Y, state={}, generator=torch.Generator(), eps=0.1)
    [found] = torch.autograd.grad(terms["trades"], model.a)
    ahead, behind = (call(trades, Scalar(1.5 + s), eps=0.1)["trades"] for s in (step, -step))
    assert found.item() == pytest.approx((ahead - behind) / (2 * step), abs=1e-6)


def test_mart() -> None:
    found, moved = call(mart, eps=0.1, weight=5.0, steps=4), (0.1, 0.8)
    assert found["cross_entropy"] == pytest.approx((ce(moved[0], 0) + ce(moved[1], 1)) / 2, abs=1e-9)
    assert found["margin"] == pytest.approx(found["cross_entropy"], abs=1e-9)  # with two classes
    unsure = 1 - p(0.2), p(0.7)
    expected = 5 * (kl(0.2, moved[0]) * unsure[0] + kl(0.7, moved[1]) * unsure[1]) / 2
    assert found["mart"] == pytest.approx(expected, abs=1e-9)


def test_the_largest_other_class_of_mart() -> None:
    logits, y = torch.tensor([[1.0, 3.0, 2.0], [90.0, 3.0, 2.0], [0.0, 90.0, 0.0]]).double(), torch.tensor([1, 1, 1])
    others = torch.stack([logits.softmax(1)[0, 2], logits.softmax(1)[1, 0], logits.softmax(1)[2, 0]])
    found = log_without_largest(logits, y)
    assert torch.allclose(found[::2], torch.log1p(-others)[::2])
    assert found[1].item() == pytest.approx(log(exp(3 - 90) + exp(2 - 90)), abs=1e-9)  # where 1 - p rounds to 0


def slope(x: float, y: int, a: float = 1.5) -> float:
    """d CE / d x."""
    return a * (p(x, a) - (y == 0))


def test_input_gradient() -> None:
    found = call(input_gradient, weight=2.0)
    assert found["input_gradient"] == pytest.approx(slope(0.2, 0) ** 2 + slope(0.7, 1) ** 2, abs=1e-12)


def test_cure_compares_gradients_along_the_sign() -> None:
    found = call(cure, h=0.5, weight=4.0)
    expected = 4 * (abs(slope(0.2 - 0.5, 0) - slope(0.2, 0)) + abs(slope(0.7 + 0.5, 1) - slope(0.7, 1))) / 2
    assert found["curvature"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("loss", "method", "term"),
    [
        (input_gradient, {"weight": 2.0}, "input_gradient"),
        (cure, {"h": 0.5}, "curvature"),
        (llr, {"eps": 0.1, "lam": 1.0}, "linearity"),
        (llr, {"eps": 0.1, "mu": 1.0}, "slope"),
        (llr, {"eps": 0.1, "mu": 1.0, "slope": "gradient_norm"}, "slope"),
    ],
)
def test_second_order_gradients_reach_the_weights(loss: Any, method: dict, term: str) -> None:
    """Against central differences; with the gradient to the image held fixed they would differ."""
    model, step = Scalar(), 1e-5
    terms, _ = loss({"model": model}, X, Y, state={}, generator=torch.Generator().manual_seed(0), **method)
    [found] = torch.autograd.grad(terms[term], model.a)
    ahead, behind = (
        loss({"model": Scalar(1.5 + s)}, X, Y, state={}, generator=torch.Generator().manual_seed(0), **method)[0][term]
        for s in (step, -step)
    )
    assert found.item() == pytest.approx((ahead - behind).item() / (2 * step), abs=1e-6)
    assert abs(found.item()) > 1e-4


class Loss(nn.Module):
    """Logits whose cross-entropy for class 0 is q(x) = x^T H x / 2 + b^T x + c, which must be positive."""

    def __init__(self, h: Tensor, b: Tensor, c: float = 3.0) -> None:
        super().__init__()
        self.h, self.b, self.c = nn.Parameter(h.double()), nn.Parameter(b.double()), c

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        q = ((flat @ self.h) * flat).sum(1) / 2 + flat @ self.b + self.c
        return torch.stack([-q, torch.log(-torch.expm1(-q))], 1)


class TestLinearity:
    """What caught the published failure to reproduce LLR: papers on it saw a zeroed gradient and a mean of products."""

    H = torch.tensor([[2.0, 0.5, 0.0], [0.5, -3.0, 0.0], [0.0, 0.0, 0.0]])
    B = torch.tensor([0.3, -0.2, 0.5])
    IMAGES = torch.tensor([[0.5, 0.5, 0.5], [0.4, 0.6, 0.5]], dtype=torch.float64).reshape(2, 1, 1, 3)
    ZERO = torch.zeros(2, dtype=torch.long)

    def terms(self, model: nn.Module, images: Tensor | None = None, **method: Any) -> dict[str, Tensor]:
        images = self.IMAGES if images is None else images
        options = {"eps": 0.1, "lam": 1.0, "mu": 1.0, **method}
        generator = torch.Generator().manual_seed(0)
        return llr({"model": model}, images, self.ZERO[: len(images)], state={}, generator=generator, **options)[0]

    @pytest.mark.parametrize("search", ["exact", "official"])
    @pytest.mark.parametrize("rule", ["adam", "sign"])
    def test_of_a_quadratic_loss_the_error_is_half_the_quadratic_form(self, search: str, rule: str) -> None:
        """d^T H d / 2 at the corners of the ball: all of them are as far from linear."""
        model = Loss(torch.diag(torch.tensor([2.0, 3.0, 1.0])), self.B)
        found = self.terms(model, steps=30, step_size=0.02, step_rule=rule, search=search)
        assert found["linearity"].item() == pytest.approx((2 + 3 + 1) * 0.1**2 / 2, rel=1e-6)

    def test_of_a_linear_loss_nothing_is_left_but_the_slope(self, monkeypatch: pytest.MonkeyPatch) -> None:
        delta = torch.tensor([[0.1, -0.1, 0.05], [0.1, 0.1, 0.1]], dtype=torch.float64).reshape(2, 1, 1, 3)
        monkeypatch.setattr(sys.modules[llr.__module__], "ascend", lambda *_, **__: self.IMAGES + delta)
        found = self.terms(Loss(torch.zeros(3, 3), self.B))
        assert found["linearity"].item() == pytest.approx(0, abs=1e-12)
        expected = (delta.flatten(1) @ self.B.double()).abs().mean().item()
        assert found["slope"].item() == pytest.approx(expected, abs=1e-12)

    def test_absolute_values_are_taken_image_by_image(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Errors of opposite signs do not cancel."""
        delta = torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.1, 0.0]], dtype=torch.float64).reshape(2, 1, 1, 3)
        monkeypatch.setattr(sys.modules[llr.__module__], "ascend", lambda *_, **__: self.IMAGES + delta)
        assert self.terms(Loss(self.H, self.B))["linearity"].item() == pytest.approx((0.01 + 0.015) / 2, abs=1e-12)

    def test_an_image_is_judged_by_itself(self) -> None:
        model = Loss(self.H, self.B)
        alone = [
            self.terms(model, self.IMAGES[i : i + 1], steps=60, step_size=0.02, step_rule="sign")["linearity"].item()
            for i in (0, 1)
        ]
        both = self.terms(model, steps=60, step_size=0.02, step_rule="sign")["linearity"].item()
        assert both == pytest.approx(sum(alone) / 2, rel=0.02)

    def test_first_order_holds_the_gradient_fixed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        delta = torch.full((2, 1, 1, 3), 0.1, dtype=torch.float64)
        monkeypatch.setattr(sys.modules[llr.__module__], "ascend", lambda *_, **__: self.IMAGES + delta)
        model = Loss(torch.zeros(3, 3), self.B)
        assert torch.autograd.grad(self.terms(model)["slope"], model.b)[0].any()
        assert not self.terms(model, second_order=False)["slope"].requires_grad

    @pytest.mark.parametrize(("loss", "term"), [(llr, "linearity"), (cure, "curvature")])
    def test_with_batch_normalisation_one_function_is_compared(self, loss: Any, term: str) -> None:
        """That of the clean batch's statistics: the error is of second order in the distance, the running averages
        count the batch once."""
        torch.manual_seed(0)
        layer = nn.BatchNorm1d(8)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3, 8), layer, nn.Softplus(), nn.Linear(8, 2)).double()
        images, y = torch.rand(16, 1, 1, 3, dtype=torch.float64), torch.arange(16) % 2

        def price(distance: float) -> float:
            options = (
                {"eps": distance, "lam": 1.0, "mu": 0.0, "step_size": distance} if loss is llr else {"h": distance}
            )
            generator = torch.Generator().manual_seed(0)
            return loss({"model": model}, images, y, state={}, generator=generator, **options)[0][term].item()

        order = 2 if loss is llr else 1
        assert price(1e-3) == pytest.approx(price(1e-2) / 10**order, rel=0.1)
        assert int(layer.num_batches_tracked) == 2
        assert "forward" not in vars(layer)


@pytest.mark.parametrize(
    ("loss", "method", "message"),
    [
        (trades, {"eps": 0.1, "beta": -1.0}, "beta is -1.0; it must be finite and >= 0"),
        (trades, {"eps": 0.1, "steps": 0}, "steps is 0; it must be an integer >= 1"),
        (cure, {"h": 0.0}, "h is 0.0; it must be > 0"),
        (llr, {"eps": 0.1, "search": "adam"}, "search is 'adam'; it must be one of exact, official, loss"),
        (llr, {"eps": 0.1, "slope": "norm"}, "slope is 'norm'; it must be one of delta, gradient_norm"),
        (fast, {"eps": -0.1}, "eps is -0.1"),
        (mart, {"eps": 0.1, "weight": float("nan")}, "weight is nan"),
    ],
)
def test_values_outside_their_range_are_refused(loss: Any, method: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call(loss, **method)
