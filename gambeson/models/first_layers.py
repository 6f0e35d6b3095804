"""Gradients to images through a convolution of few channels: on a CPU, the library's routine for them is slow."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, fold

from gambeson.types import Images

Model = TypeVar("Model", bound=Callable[..., Any])
MOST_CHANNELS = 3  # grey or colour; of more, the library's routine is no slower


class _ToImages(torch.autograd.Function):
    """A convolution whose gradient to its input is one product of matrices, and sums of overlapping patches."""

    @staticmethod
    def forward(ctx: Any, x: Images, weight: Tensor, bias: Tensor | None, how: tuple[Any, Any, Any]) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.size, ctx.how = x.shape[2:], how
        return conv2d(x, weight, bias, *how)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        [weight], (stride, padding, dilation) = ctx.saved_tensors, ctx.how
        patches = weight.flatten(1).t() @ grads[0].flatten(2)
        return fold(patches, ctx.size, weight.shape[2:], dilation, padding, stride), None, None, None


@contextmanager
def quick_to_images(model: Model) -> Iterator[Model]:
    """Inside, gradients to images pass convolutions of up to three channels by a product of matrices, where the model
    lives on a CPU and its weights are frozen: several times as fast, up to rounding; answers are bit for bit the same.

    A callable that is not an nn.Module is left alone, and so is what is derived from nn.Conv2d.
    """
    layers = [layer for layer in model.modules() if _is_plain(layer)] if isinstance(model, nn.Module) else []
    try:
        for layer in layers:
            layer.forward = partial(_forward, layer)  # type: ignore[method-assign]
        yield model
    finally:
        for layer in layers:
            del layer.forward


def _is_plain(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        type(layer) is nn.Conv2d
        and "forward" not in vars(layer)
        and layer.in_channels <= MOST_CHANNELS
        and (layer.groups, layer.padding_mode, isinstance(layer.padding, str)) == (1, "zeros", False)
        and layer.weight.device.type == "cpu"
    )


def _forward(layer: nn.Conv2d, x: Images) -> Tensor:
    trained = any(parameter.requires_grad for parameter in layer.parameters())
    if trained or not (x.requires_grad and torch.is_grad_enabled()):
        return layer._conv_forward(x, layer.weight, layer.bias)
    found: Tensor = _ToImages.apply(x, layer.weight, layer.bias, (layer.stride, layer.padding, layer.dilation))
    return found
