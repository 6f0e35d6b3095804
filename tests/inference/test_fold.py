"""Folding: the same function up to rounding, and every layer that cannot be folded is left alone."""

import pytest
import torch
from torch import Tensor, nn

from gambeson import models
from gambeson.inference.fold import fold, foldable


def shaken(model: nn.Module) -> nn.Module:
    """Evaluation mode, with batch statistics and weights that are not those of the start."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in model.modules())


class Shared(nn.Module):
    """The convolution's output is used twice: folded into it, the normalisation would change both."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.conv(x)
        return z + self.norm(z)


class Twice(Shared):
    """One convolution, called twice, normalised once."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.conv(x)


class First(Shared):
    """Normalised before the convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x.expand(-1, 3, -1, -1))[:, :1])


@pytest.mark.parametrize(
    ("model", "shape", "left"),
    [
        (models.build("resnet20", classes=10, shape=(3, 16, 16)), (3, 16, 16), 0),
        (models.build("wideresnet", classes=10, shape=(3, 16, 16)), (3, 16, 16), None),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5)), (1, 8, 8), 0),
        (nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3)), (1, 8, 8), 0),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.BatchNorm2d(3)), (1, 8, 8), 1),
        (Shared(), (1, 8, 8), 1),
        (Twice(), (1, 8, 8), 1),
        (First(), (1, 8, 8), 1),
    ],
    ids=["resnet20", "wideresnet", "linear", "no bias", "activation between", "shared", "twice", "norm first"],
)
def test_the_function_stays_the_same(model: nn.Module, shape: tuple[int, ...], left: int | None) -> None:
    model = shaken(model).double()
    x = torch.rand(4, *shape, dtype=torch.float64)
    expected, folded = model(x), fold(model)
    assert torch.allclose(folded(x), expected, rtol=1e-9, atol=1e-9)
    found = sum(1 for node in folded.graph.nodes if "BatchNorm" in _kind(folded, node))  # type: ignore[union-attr]
    assert found == left if left is not None else found < norms(model)


def _kind(model: nn.Module, node) -> str:
    return type(model.get_submodule(node.target)).__name__ if node.op == "call_module" else ""


def test_what_can_be_folded() -> None:
    assert foldable(nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)))
    assert not foldable(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU()))
    assert not foldable(lambda x: x)
