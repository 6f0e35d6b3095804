"""Defences that only hide their gradients, and honest nets: which checks doubt which."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softmax

from gambeson import data, models
from gambeson.checks import run_checks
from gambeson.checks.contract import model_contract
from gambeson.checks.diagnosed import SIGNS
from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.evaluation import diagnosed
from gambeson.evaluation.plan import inspect
from gambeson.evaluation.probes import Budget
from gambeson.losses import Loss, adversarial, noisy, plain
from gambeson.records import Run
from gambeson.training import train

EPS, IMAGES, SEED = 0.1, 250, 20_000  # thresholds were set on nets of other seeds
QUICK = Budget(steps=200, restarts=20, restart_steps=30, queries=1_000, noise_draws=500, directions=30,
               linearity_restarts=1, linearity_steps=10)  # fmt: skip


Build = Callable[[], nn.Module]


def convolutional() -> nn.Module:
    return models.build("digits_cnn", classes=10, shape=(1, 8, 8))


def small() -> nn.Module:
    """What a fraud hides may be cheap to ask: its diagnosis asks hundreds of thousands of times."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def net(loss: Loss, build: Build, **method: float) -> nn.Module:
    images = data.load("digits", "train", validation=100)
    with torch.random.fork_rng([]):
        torch.manual_seed(SEED)
        model = build()
    optimizer = {"name": "sgd", "lr": 0.03, "momentum": 0.9}
    train(model, images, loss=loss, method=method, optimizer=optimizer, epochs=15, batch=64, seed=SEED, ratio_steps=0)
    return model.eval()


@pytest.fixture(scope="module")
def images() -> Dataset:
    return data.load("digits", "test").every(1, IMAGES)


@pytest.fixture(scope="module")
def undefended() -> nn.Module:
    return net(plain, small)


def verdicts(
    model: Callable[[Tensor], Tensor], images: Dataset, folder: Path, eps: float = EPS, budget: Budget = QUICK
) -> dict[str, str]:
    """Of every check, after a diagnosis that is written down and read again."""
    _, flags = inspect(model, images)
    about = {
        "name": "run", "method": None, "method_settings": None, "dataset": images.name, "model": None,
        "classes": list(images.classes), "shape": [1, 8, 8], "levels": images.levels, "seed": None, "model_hash": "m",
        "data_hash": None, "versions": {}, "device": "cpu", "threads": 1,
    }  # fmt: skip
    run = Run.create(folder / "run", about)
    evaluation = diagnosed(model, images, eps=eps, budget=budget, batch=IMAGES)
    described = {"dataset": "digits", "split": "test", "rule": "all", "levels": 16, "fingerprint": "f"}
    with run.writing() as writer:
        writing = writer.evaluation("diagnosed", evaluation.settings, described, len(images), "gambeson check", "now")
        for record in evaluation:
            writing.append(record)
    return {check.check: check.verdict for check in run_checks(run, flags=flags)}


def doubts(*words: Any, **options: Any) -> set[str]:
    return {name for name, verdict in verdicts(*words, **options).items() if verdict in ("doubt", "fail")}


@pytest.mark.filterwarnings("ignore:the ")
class TestHonest:
    @pytest.mark.parametrize(
        ("build", "loss", "method", "budget"),
        [
            (small, plain, {}, QUICK),
            pytest.param(convolutional, plain, {}, Budget(), marks=pytest.mark.long),
            pytest.param(convolutional, noisy, {"sigma": 0.25}, Budget(), marks=pytest.mark.long),
            pytest.param(convolutional, adversarial, {"eps": EPS, "steps": 7}, Budget(), marks=pytest.mark.long),
        ],
    )
    def test_honest_nets_pass(
        self, build: Build, loss: Loss, method: dict, budget: Budget, images: Dataset, tmp_path: Path
    ) -> None:  # fmt: skip
        """Every sign that a base model can show was looked for, and none is doubted."""
        found = verdicts(net(loss, build, **method), images, tmp_path, budget=budget)
        left = {"attacks_transfer"} | ({"random_noise_finds_nothing"} if budget is QUICK else set())
        assert {name: found[name] for name in SIGNS} == {name: "not_run" if name in left else "pass" for name in SIGNS}
        assert set(found.values()) <= {"pass", "not_run"}


class Wrapped(nn.Module):
    """A fraud around an honest net: `before` changes its images, `after` its logits."""

    def __init__(self, model: nn.Module, before: Callable = lambda x: x, after: Callable = lambda z: z) -> None:
        super().__init__()
        self.model, self.before, self.after = model, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.model(self.before(x)))


class Nothing(torch.autograd.Function):
    """The identity, with a gradient of zero."""

    @staticmethod
    def forward(context, x):  # type: ignore[no-untyped-def]
        return x.clone()

    @staticmethod
    def backward(context, gradient):  # type: ignore[no-untyped-def]
        return torch.zeros_like(gradient)


class Purified(nn.Module):
    """Before it answers, it makes the image more like its own first guess, in five gradient steps."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        guess = self.model(x).argmax(1).detach()
        clean = x.detach()
        with torch.enable_grad():
            for _ in range(5):
                clean = clean.detach().requires_grad_()
                [gradient] = torch.autograd.grad(cross_entropy(self.model(clean), guess), clean)
                clean = clean - 0.05 * gradient.sign()
        return self.model(clean.detach() + (x - x.detach()))


class Denoised(nn.Module):
    """A search without gradients: eight rounds of a learned filter, whose effect is not differentiated."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.filter = model, nn.Conv2d(1, 1, 3, padding=1, bias=False)
        nn.init.constant_(self.filter.weight, 1 / 9)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            smooth = x
            for _ in range(8):
                smooth = 0.9 * smooth + 0.1 * self.filter(smooth)
        return self.model(smooth)


def shattered(x: Tensor) -> Tensor:
    """Changes no pixel by more than 0.002; its slope is anything up to 200."""
    return x + 0.002 * torch.sin(1e5 * x)


BLIND = {"gradients_available", "black_box_not_better"}  # gradients are hidden, and black boxes see through it
FRAUDS: dict[str, tuple[Callable[[nn.Module], nn.Module], set[str]]] = {
    "quantiser of 8 levels": (lambda net: Wrapped(net, before=lambda x: (x * 7).round() / 7), BLIND),
    "saturated softmax": (lambda net: Wrapped(net, after=lambda z: softmax(1e3 * z, 1)), {*BLIND, "model_contract"}),
    "zeroed gradients": (lambda net: Wrapped(net, before=Nothing.apply), BLIND),
    "no gradients": (lambda net: Wrapped(net, before=lambda x: x.detach()), BLIND),
    "shattered gradients": (lambda net: Wrapped(net, before=shattered), {"black_box_not_better"}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FRAUDS)
def test_a_fraud_is_caught_by_the_right_checks(
    name: str, undefended: nn.Module, images: Dataset, tmp_path: Path
) -> None:
    make, checks = FRAUDS[name]
    assert doubts(make(undefended).eval(), images, tmp_path) >= checks


class Means(nn.Module):
    """The nearest mean of a class: cheap enough to be asked ten thousand times."""

    def __init__(self, hide: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        train = data.load("digits", "train", validation=100)
        means = torch.stack([train.pixels()[train.labels == label].mean(0).flatten() for label in range(10)])
        self.register_buffer("weight", 2 * means)
        self.register_buffer("bias", -means.square().sum(1))
        self.hide = hide

    def forward(self, x: Tensor) -> Tensor:
        return self.hide(x).flatten(1) @ self.weight.T + self.bias


class Trapped(torch.autograd.Function):
    """The identity, whose gradient is right for images in whole levels and points back everywhere else."""

    @staticmethod
    def forward(context, x):  # type: ignore[no-untyped-def]
        context.save_for_backward((16 * x == (16 * x).round()).flatten(1).all(1))
        return x.clone()

    @staticmethod
    def backward(context, gradient):  # type: ignore[no-untyped-def]
        [clean] = context.saved_tensors
        return torch.where(clean[:, None, None, None], gradient, -gradient)


class Rough(Means):
    """Its margins go up and down with the sum of all pixels, and its class does not."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + 0.9 * torch.sin(1e4 * x.flatten(1).sum(1, keepdim=True)))


PATIENT = replace(QUICK, noise_draws=10_000)
PLAIN: dict[str, tuple[Callable[[], nn.Module], float, Budget, set[str]]] = {
    "a gradient that leads back": (lambda: Means(Trapped.apply), EPS, QUICK, {"one_step_not_better"}),
    "so weak that noise does": (
        lambda: Means(Nothing.apply), 0.3, PATIENT,
        {"random_noise_finds_nothing", "unlimited_attack_succeeds", "gradients_available"},
    ),
    "a rough loss": (lambda: Rough(lambda x: x), EPS, QUICK, {"predictions_stable"}),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PLAIN)
def test_a_fraud_around_class_means_is_caught(name: str, images: Dataset, tmp_path: Path) -> None:
    make, eps, budget, checks = PLAIN[name]
    assert doubts(make().eval(), images, tmp_path, eps, budget) >= checks


@pytest.mark.filterwarnings("ignore")
def test_class_means_hide_nothing(images: Dataset, tmp_path: Path) -> None:
    assert doubts(Means(lambda x: x).eval(), images, tmp_path, EPS, PATIENT) == set()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [Purified, Denoised])
def test_a_search_while_the_model_answers_is_caught(
    make: Callable[[nn.Module], nn.Module], undefended: nn.Module, images: Dataset
) -> None:
    _, flags = inspect(make(undefended).eval(), images)
    assert model_contract(flags).verdict == "doubt"


@pytest.mark.parametrize("scale", [0.05, 0.5])
def test_a_randomised_layer_is_refused(undefended: nn.Module, images: Dataset, scale: float) -> None:
    with pytest.raises(UserError, match="answers differently when asked twice"):
        inspect(Wrapped(undefended, before=lambda x: x + scale * torch.randn_like(x)), images)
