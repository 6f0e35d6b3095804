"""A search while the model answers is doubted; honest nets, and layers that merely share a type, are not."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson import models
from gambeson.models.iterates import iterates

X = torch.rand(4, 1, 28, 28)


class Searching(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            moved = x.detach().requires_grad_()
            [slope] = torch.autograd.grad(cross_entropy(self.net(moved), torch.zeros(len(x), dtype=torch.long)), moved)
        return self.net(x + 0.01 * slope)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.filter, self.last = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(784, 10)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.filter(x).relu()
        return self.last(x.flatten(1))


def test_gradients_at_inference_are_doubted() -> None:
    flag = iterates(Searching(models.build("lenet", classes=10, shape=(1, 28, 28))).eval(), X)
    assert flag is not None
    assert "takes gradients" in flag.message


def test_a_layer_that_runs_again_is_named() -> None:
    flag = iterates(Recurrent().eval(), X)
    assert flag is not None
    assert "layer 'filter' runs 3 times" in flag.message


@pytest.mark.parametrize("name", models.names())
def test_our_architectures_answer_at_once(name: str) -> None:
    model = models.build(name, classes=10, shape=(1, 32, 32)).eval()
    assert iterates(model, torch.rand(2, 1, 32, 32)) is None
    assert not any(layer._forward_hooks for layer in model.modules())


def test_an_activation_that_layers_share_is_honest() -> None:
    act = nn.PReLU()
    assert iterates(nn.Sequential(nn.Conv2d(1, 2, 3), act, nn.Conv2d(2, 2, 3), act, nn.Flatten()).eval(), X) is None


def test_a_plain_function_is_left_alone() -> None:
    assert iterates(lambda x: x.flatten(1), X) is None
