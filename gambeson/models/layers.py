"""What the architectures share: the normalisation layer, activations, initialisation, and the smallest image."""

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor, nn

from gambeson.errors import UserError

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "softplus": nn.Softplus, "elu": nn.ELU}


class Normalize(nn.Module):
    """(x - mean) / std per channel: the first layer of every model, so that pixels outside it are always in [0, 1].

    `mean` and `std` have one value per channel and travel in the checkpoint: weights and normalisation stay together.
    A wrong number of channels is refused, because broadcasting would quietly turn a grey image into a colour one.

    >>> Normalize([0.5], [0.25])(torch.ones(1, 1, 1, 1)).item()
    2.0
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) == 0 or len(mean) != len(std):
            raise UserError(f"mean has {len(mean)} values and std has {len(std)}; give one of each per channel")
        if not all(isfinite(value) and abs(value) <= 1 for value in mean):
            raise UserError(f"mean is {list(mean)}; it must be in [0, 1] pixel units (0.4914, not 125.3)")
        if not all(isfinite(value) and value > 0 for value in std):
            raise UserError(f"std is {list(std)}; it must be finite and > 0, in [0, 1] pixel units (0.2023, not 51.6)")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        channels = self.mean.shape[1]
        if x.ndim != 4 or x.shape[1] != channels:
            raise UserError(f"images have shape {tuple(x.shape)}; this model takes (N, {channels}, H, W)")
        return (x - self.mean) / self.std


def normalize(shape: tuple[int, int, int], mean: Sequence[float] | None, std: Sequence[float] | None) -> Normalize:
    """The first layer for images of `shape` (C, H, W): mean 0 and std 1 where none is given.

    >>> normalize((3, 32, 32), None, None).std.flatten().tolist()
    [1.0, 1.0, 1.0]
    """
    channels = shape[0]
    if (mean is None) != (std is None):
        raise UserError(f"{'std' if std is None else 'mean'} is missing: give mean and std together, or neither")
    for name, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != channels:
            raise UserError(f"{name} has {len(values)} values; images of shape {tuple(shape)} need {channels}")
    return Normalize([0.0] * channels if mean is None else mean, [1.0] * channels if std is None else std)


def activation(name: str) -> nn.Module:
    """A new activation layer: relu, softplus (smooth, for methods that differentiate twice) or elu.

    >>> activation("softplus")(torch.zeros(1)).item() > 0.69
    True
    """
    if name not in ACTIVATIONS:
        raise UserError(f"activation is {name!r}; it must be one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def dropout(p: float) -> nn.Dropout:
    """A new dropout layer that drops with probability `p` in [0, 1).

    >>> dropout(0.5)
    Dropout(p=0.5, inplace=False)
    """
    if not 0 <= p < 1:
        raise UserError(f"dropout is {p}; it must be in [0, 1)")
    return nn.Dropout(p)


def require_size(architecture: str, shape: tuple[int, int, int], smallest: int) -> None:
    """Refuse images smaller than `smallest` x `smallest`, naming the size that the architecture takes.

    >>> require_size("lenet", (1, 28, 28), 16)
    """
    if min(shape[1:]) < smallest:
        raise UserError(
            f"{architecture} takes images of at least {smallest}x{smallest} pixels; these are {shape[1]}x{shape[2]} "
            "(digits_cnn takes images from 4x4)"
        )


def he_fan_out(model: nn.Module) -> None:
    """Convolutions ~ N(0, 2 / (k k out)), in place: He et al. 2015 as in the original residual networks' code."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def orthogonal(model: nn.Module) -> None:
    """Weights of every layer orthogonal, biases zero, in place: Saxe et al. 2014, the start of the IBP networks."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.orthogonal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
