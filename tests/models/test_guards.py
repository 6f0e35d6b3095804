"""Guard rails: each fires on a model built to be wrong, and none on an honest one."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gambeson import models
from gambeson.errors import UserError
from gambeson.models.guards import check, require

SHAPE, CLASSES = (3, 18, 18), 4
SMALLER = {"wideresnet": {"depth": 10, "width": 2}}


def images(count: int = 8, seed: int = 0) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def linear() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 18 * 18, CLASSES)).eval()


def names(model: Callable[..., Any], x: Tensor, y: Tensor | None = None, classes: int = CLASSES) -> list[str]:
    return [flag.name for flag in check(model, x, y, classes)]


class Then(nn.Module):
    """A linear model whose logits go through `change`."""

    def __init__(self, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.inner, self.change = linear(), change
        self.eval()

    def forward(self, x: Tensor) -> Any:
        return self.change(self.inner(x))


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("batch", [1, 3, 120])
def test_honest_architectures_raise_no_flag(name: str, batch: int) -> None:
    if batch == 120 and name not in ("lenet", "digits_cnn", "resnet20"):
        pytest.skip("the accuracy guard does not look at the architecture")
    torch.manual_seed(0)
    net = models.build(name, classes=CLASSES, shape=SHAPE, **SMALLER.get(name, {}))
    net(images(32, seed=1))  # batch statistics that differ from their start
    net.eval()
    x = images(batch)
    with torch.no_grad():
        labels = net(x).argmax(1)
    if batch == 120:  # labels of more than one class, so that being right is not chance
        labels = torch.arange(120) % CLASSES
        net = Oracle(net, x, labels)
    assert check(net, x, labels, CLASSES) == []


class Oracle(nn.Module):
    """An honest network whose answer is then shifted to be right on the images that it knows."""

    def __init__(self, net: nn.Module, x: Tensor, y: Tensor) -> None:
        super().__init__()
        self.net, self.known, self.labels = net, x, y
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        nearest = (x[:, None, 0, 0] - self.known[None, :, 0, 0]).abs().sum(2).argmin(1)
        return self.net(x) + 100 * nn.functional.one_hot(self.labels[nearest], CLASSES)


@pytest.mark.parametrize(
    "model",
    [
        lambda x: linear()(x),  # a plain callable
        Then(lambda z: z.log_softmax(1)),
        Then(lambda z: z.sigmoid()),
        Then(lambda z: z.double()),
        Then(lambda z: z.bfloat16()),
        Then(lambda z: 0 * z),  # an untrained smallcnn
        Then(lambda z: z + 1e-6 * z.abs().max() * torch.rand_like(z)),  # float noise, as from another batch split
        Then(lambda z: 1e6 + z),
    ],
)
def test_honest_answers(model: Callable[[Tensor], Tensor]) -> None:
    assert check(model, images(), None, CLASSES) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: 255 * x, r"inputs reach 25\d.*divide by 255.*--mean/--std"),
        (lambda x: 16 * x, "inputs reach 15.*largest level"),
        (lambda x: (x - 0.5) / 0.25, "reach down to -.*model normalise"),
        (lambda x: (255 * x).byte(), r"uint8.*x.float\(\) / 255"),
        (lambda x: x.index_fill(0, torch.tensor([1]), float("nan")), "1 of 8 images hold NaN"),
        (lambda x: x.index_fill(0, torch.tensor([1, 2]), float("inf")), "2 of 8 images hold NaN or infinity"),
        (lambda x: x[0], r"shape \(3, 18, 18\)"),
        (lambda x: x[:0], "at least one"),
    ],
)
def test_inputs(change: Callable[[Tensor], Tensor], words: str) -> None:
    with pytest.raises(UserError, match=words):
        require(linear(), change(images()), None, CLASSES)


def test_edges_of_the_pixel_range_are_honest() -> None:
    assert check(linear(), images().round(), None, CLASSES) == []


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (torch.arange(8) % 4 + 1, "labels run from 1 to 4; 4 classes are 0..3: subtract 1"),
        (torch.arange(8), "labels run from 0 to 7.*number of classes"),
        (torch.arange(8) % 4 - 1, "labels run from -1"),
        (torch.arange(7) % 4, r"shape \(7,\); give int64 of shape \(8,\)"),
        (torch.eye(4)[torch.arange(8) % 4], "one-hot"),
        (torch.zeros(8), "float32"),
    ],
)
def test_labels(labels: Tensor, words: str) -> None:
    with pytest.raises(UserError, match=words):
        require(linear(), images(), labels, CLASSES)


def test_training_mode_names_the_layer() -> None:
    net = models.build("smallcnn", classes=CLASSES, shape=SHAPE)
    assert "'classifier.drop' (Dropout)" in check(net, images(), None, CLASSES)[0].message
    nn.init.normal_(net.classifier.fc3.weight)  # so that dropout would show
    assert names(net, images()) == ["training_mode"]  # one cause, one flag: the rest is looked at in evaluation mode
    net.eval()
    net.classifier.drop.train()
    flag = check(net, images(), None, CLASSES)[0]
    assert "layer 'classifier.drop' (Dropout) is in training mode (1 modules are): call model.eval()" in flag.message
    residual = models.build("resnet20", classes=CLASSES, shape=SHAPE)
    assert "'bn1' (BatchNorm2d)" in check(residual, images(), None, CLASSES)[0].message
    plain = linear().train()
    assert "the model (Sequential)" in check(plain, images(), None, CLASSES)[0].message


def wrong() -> dict[str, tuple[Callable[..., Any], str, str, str]]:
    """model, flag, severity, words of the remedy."""

    class FunctionalDropout(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear()
            self.eval()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(nn.functional.dropout(x, 0.5))  # training=True is its default

    class BatchStatistics(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.inner = nn.BatchNorm2d(3, track_running_stats=False), linear()
            self.eval()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(self.norm(x))

    class Neighbour(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear()
            self.eval()

        def forward(self, x: Tensor) -> Tensor:
            z = self.inner(x)
            return z + 0.1 * z.roll(1, 0)

    return {
        "softmax": (Then(lambda z: z.softmax(1)), "probabilities", "doubt", "remove the last softmax"),
        "softmax16": (Then(lambda z: z.bfloat16().softmax(1)), "probabilities", "doubt", "remove the last softmax"),
        "dropout": (FunctionalDropout(), "random", "refuse", "training=self.training"),
        "numpy": (Then(lambda z: z + np.random.rand()), "random", "refuse", "twice"),  # noqa: NPY002
        "python": (Then(lambda z: z + random.random()), "random", "refuse", "twice"),
        "statistics": (BatchStatistics(), "batch_split", "refuse", "layer 'norm' has no running statistics"),
        "neighbour": (Neighbour(), "batch_split", "refuse", "predictions change"),
        "mean": (Then(lambda z: z - z.mean(0)), "batch_split", "refuse", "keep images apart"),
        "squeeze": (Then(lambda z: z.squeeze()), "batch_split", "refuse", "squeeze"),
        "alone": (Then(lambda z: z + 0 * z[1]), "batch_split", "refuse", "fails on an image alone"),
        "tuple": (Then(lambda z: (z, z)), "output", "refuse", r"self.model\(x\)\[0\]"),
        "dict": (Then(lambda z: {"logits": z}), "output", "refuse", "returns a dict"),
        "rank": (Then(lambda z: z[:, :, None, None]), "output", "refuse", "flatten"),
        "transposed": (Then(lambda z: z.T), "output", "refuse", "batch dimension first"),
        "decision": (Then(lambda z: nn.functional.one_hot(z.argmax(1), 4)), "output", "refuse", "not the predicted"),
        "classes": (Then(lambda z: torch.cat([z, z], 1)), "classes", "refuse", "8 logits but the data has 4 classes"),
        "nan": (Then(lambda z: z * float("nan")), "logits_not_finite", "refuse", "training diverged"),
        "overflow": (Then(lambda z: z / 0.0), "logits_not_finite", "refuse", "half precision"),
        "channels": (nn.Conv2d(1, 2, 3).eval(), "input_shape", "refuse", r"\(N, 3, 18, 18\).*takes 1 channels"),
        "size": (nn.Sequential(nn.Flatten(), nn.Linear(9, 4)).eval(), "input_shape", "refuse", "'1' takes 9 values"),
        "double": (linear().double(), "input_shape", "refuse", "float32, on cpu.*float64"),
    }


@pytest.mark.parametrize("case", sorted(wrong()))
@pytest.mark.parametrize("count", [1, 8])
def test_detectors_fire(case: str, count: int) -> None:
    torch.manual_seed(1), random.seed(1), np.random.seed(1)  # noqa: NPY002
    model, name, severity, words = wrong()[case]
    flags = check(model, images(count), None, CLASSES)
    assert [(flag.name, flag.severity) for flag in flags] == [(name, severity)]
    if severity == "refuse":
        with pytest.raises(UserError, match=words):
            require(model, images(count), None, CLASSES)
    else:
        assert words in require(model, images(count), None, CLASSES)[0].message


def test_wrong_shape_names_what_the_architecture_takes() -> None:
    net = models.build("lenet", classes=10, shape=(1, 28, 28)).eval()
    with pytest.raises(UserError, match=r"\(N, 1, 32, 32\).*lenet was built for images of shape \(1, 28, 28\)"):
        require(net, torch.rand(2, 1, 32, 32), None, 10)


class Brightness(nn.Module):
    """Exact: after normalisation by (0.5, 0.1) the sign of the mean decides; without it every mean is positive."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([-mean, mean], 1)


def test_missing_normalisation_is_doubted() -> None:
    y = torch.arange(200) % 2
    x = torch.full((200, 1, 4, 4), 0.4) + 0.2 * y.view(-1, 1, 1, 1)
    honest = nn.Sequential(models.Normalize([0.5], [0.1]), Brightness()).eval()
    assert check(honest, x, y, 2) == []
    flags = check(Brightness().eval(), x, y, 2)
    assert [(flag.name, flag.severity) for flag in flags] == [("near_chance", "doubt")]
    assert "100 of 200" in flags[0].message
    assert "--mean/--std" in flags[0].message
    always_dark = Then(lambda z: torch.cat([z[:, :1] * 0 + 2, z[:, :1] * 0], 1))
    by_class = torch.arange(1000) // 500  # files are often sorted by class: the sample must not be the first rows
    assert names(always_dark, images(1000), by_class, 2) == ["near_chance"]
    assert names(Brightness().eval(), x[:99], y[:99], 2) == []  # too few to judge


def test_several_refusals_in_one_message() -> None:
    net = Then(lambda z: torch.cat([z, z], 1)).train()
    with pytest.raises(UserError, match=r"training mode.*; the model gives 8 logits"):
        require(net, images(), None, CLASSES)


class Meddling(nn.Module):
    """Moves a buffer, its mode and every generator whenever it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm, self.drop = linear(), nn.BatchNorm2d(3, affine=False), nn.Dropout()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
        moved = nn.functional.batch_norm(x, self.norm.running_mean, self.norm.running_var, training=True)
        return self.inner(self.drop(moved))


@pytest.mark.parametrize("broken", [False, True])
def test_model_and_generators_are_left_as_found(broken: bool) -> None:
    net = Meddling()
    net.norm.eval()
    if broken:
        net.drop = nn.Unflatten(1, (7, 7))  # type: ignore[assignment]  # raises
    modes, before = [m.training for m in net.modules()], models.fingerprint(net)
    state = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    check(net, images(), None, CLASSES)
    assert [m.training for m in net.modules()] == modes
    assert models.fingerprint(net) == before
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()  # noqa: NPY002
    assert random.getstate() == state[2]


def test_out_of_memory_is_not_mistaken_for_a_wrong_shape() -> None:
    def full(_: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        check(full, images(), None, CLASSES)
