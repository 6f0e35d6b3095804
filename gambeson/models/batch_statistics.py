"""One map for a clean batch and what is near it: batch normalisation with the statistics of another batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Statistics = dict[nn.Module, tuple[Tensor, Tensor]]  # of every layer: mean and variance of the batch, (channels,)


def normalises(model: nn.Module) -> bool:
    """Whether an answer in this mode depends on the batch that an image comes in."""
    return any(isinstance(layer, _BatchNorm) and layer.training for layer in model.modules())


@contextmanager
def recorded(model: nn.Module) -> Iterator[Statistics]:
    """Inside, every batch normalisation in training mode also remembers what it normalised with; their gradients too.

    Its answers and its running averages are what they are without.
    """
    kept: Statistics = {}
    with _instead(model, partial(_record, kept=kept)):
        yield kept


@contextmanager
def reused(model: nn.Module, kept: Statistics, *, detached: bool = False) -> Iterator[None]:
    """Inside, batch normalisation maps with the statistics that were `recorded`, and leaves its averages alone.

    So an image's answer no longer depends on the batch that it comes in. detached: no gradient goes to the statistics.
    """
    if detached:
        kept = {layer: (mean.detach(), variance.detach()) for layer, (mean, variance) in kept.items()}
    with _instead(model, partial(_reuse, kept=kept), only=kept):
        yield


def _record(layer: _BatchNorm, x: Tensor, *, kept: Statistics) -> Tensor:
    exact = x.float() if x.dtype.itemsize < 4 else x  # as the layer itself does
    variance, mean = torch.var_mean(exact, [axis for axis in range(x.dim()) if axis != 1], correction=0)
    kept[layer] = (mean, variance)
    return type(layer).forward(layer, x)


def _reuse(layer: _BatchNorm, x: Tensor, *, kept: Statistics) -> Tensor:
    mean, variance = kept[layer]
    scale = (variance + layer.eps).rsqrt()
    scale = scale if layer.weight is None else scale * layer.weight
    shift = -mean * scale if layer.bias is None else layer.bias - mean * scale
    shape = [1, -1, *[1] * (x.dim() - 2)]
    return (x * scale.reshape(shape) + shift.reshape(shape)).to(x.dtype)


@contextmanager
def _instead(model: nn.Module, forward: Callable[..., Tensor], only: Statistics | None = None) -> Iterator[None]:
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.training]
    layers = layers if only is None else [layer for layer in layers if layer in only]
    try:
        for layer in layers:
            layer.forward = partial(forward, layer)  # type: ignore[method-assign]
        yield
    finally:
        for layer in layers:
            del layer.forward
