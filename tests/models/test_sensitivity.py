"""How far the first layer carries images apart, against the matrix that it is."""

import pytest
import torch
from torch import nn

from gambeson import models
from gambeson.errors import UserError
from gambeson.models.layers import Normalize
from gambeson.models.sensitivity import sensitivity

LAYERS = {
    "padded": (nn.Conv2d(3, 8, 3, padding=1), (3, 9, 7)),
    "strided": (nn.Conv2d(1, 6, 5, stride=2, padding=2), (1, 8, 8)),
    "both strides": (nn.Conv2d(2, 5, (3, 4), stride=(2, 3), padding=(0, 2)), (2, 7, 11)),
    "bare": (nn.Conv2d(2, 4, (1, 4), bias=False), (2, 6, 6)),
    "far padded": (nn.Conv2d(1, 2, 3, padding=4), (1, 5, 5)),
    "more in than out": (nn.Conv2d(5, 2, 3, padding="same"), (5, 6, 6)),
    "linear": (nn.Sequential(nn.Flatten(), nn.Linear(32, 7)), (2, 4, 4)),
    "linear, wide": (nn.Sequential(nn.Flatten(), nn.Linear(4, 9)), (1, 2, 2)),
}


def matrix_norm(function: nn.Module, shape: tuple[int, int, int]) -> float:
    """The largest singular value of a linear function, from all its columns."""
    with torch.no_grad():
        basis = torch.eye(shape[0] * shape[1] * shape[2], dtype=torch.float64).reshape(-1, *shape)
        rows = function.double()(basis) - function(torch.zeros(1, *shape, dtype=torch.float64))
        return torch.linalg.matrix_norm(rows.flatten(1), 2).item()


@pytest.mark.parametrize("std", [None, 0.25])
@pytest.mark.parametrize("name", LAYERS)
def test_it_bounds_the_norm_and_is_near_it(name: str, std: float | None) -> None:
    layer, shape = LAYERS[name]
    torch.manual_seed(0)
    for part in layer.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.reset_parameters()
    before = [] if std is None else [Normalize([0.5] * shape[0], [std] * shape[0])]
    model = nn.Sequential(*before, layer, nn.Flatten())
    exact = matrix_norm(model, shape)
    found = sensitivity(model, *shape[1:]).item()
    assert exact * (1 - 1e-9) <= found <= 1.25 * exact
    if "linear" in name:
        assert found == pytest.approx(exact)


def test_it_is_of_the_first_layer_alone() -> None:
    model = models.build("lenet", classes=10, shape=(1, 28, 28))
    before = sensitivity(model, 28, 28)
    with torch.no_grad():
        model.conv2.weight *= 10
    assert torch.equal(sensitivity(model, 28, 28), before)
    with torch.no_grad():
        model.conv1.weight *= 10
    assert sensitivity(model, 28, 28).item() == pytest.approx(10 * before.item())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Flatten(), "neither a convolution nor a linear layer"),
        (nn.Conv2d(4, 4, 3, groups=2), "sensitivity is known without groups"),
        (nn.Conv2d(1, 4, 3, dilation=2), "sensitivity is known without groups"),
        (nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), "zeros around the image"),
    ],
)
def test_what_is_not_known_is_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sensitivity(model, 8, 8)
