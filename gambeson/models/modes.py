"""Where a model lives, and leaving it as it was found: evaluation mode, frozen parameters and another layout, for a
while.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gambeson.models.first_layers import quick_to_images

Model = TypeVar("Model", bound=Callable[..., Any])


@contextmanager
def evaluating(model: Model) -> Iterator[Model]:
    """Evaluation mode inside; every submodule gets its own training flag back after, also when an exception is raised.

    A callable that is not an nn.Module is left alone.

    >>> net = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
    >>> with evaluating(net):
    ...     print([layer.training for layer in net])
    [False, False]
    >>> [layer.training for layer in net]
    [True, False]
    """
    flags = [(module, module.training) for module in model.modules()] if isinstance(model, nn.Module) else []
    try:
        if isinstance(model, nn.Module):
            model.eval()
        yield model
    finally:
        for module, training in flags:  # not model.train(): it would switch on what the user had switched off
            module.training = training


@contextmanager
def frozen(model: Model) -> Iterator[Model]:
    """No parameter requires a gradient inside; each gets its own flag back after, also when an exception is raised.

    A callable that is not an nn.Module is left alone.

    >>> net = nn.Linear(2, 2)
    >>> with frozen(net):
    ...     print(any(p.requires_grad for p in net.parameters()))
    False
    >>> all(p.requires_grad for p in net.parameters())
    True
    """
    flags = [(p, p.requires_grad) for p in model.parameters()] if isinstance(model, nn.Module) else []
    try:
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield model
    finally:
        for parameter, required in flags:
            parameter.requires_grad_(required)


@contextmanager
def channels_last(model: Model, x: Tensor) -> Iterator[Model]:
    """Convolutions' weights in channels_last inside, where the model lives on a CPU and runs so; as they were after.

    x: images (N, C, H, W), one is tried. Input gradients are faster then, and answers differ by rounding. A callable
    that is not an nn.Module is left alone.
    """
    parameters = model.parameters() if isinstance(model, nn.Module) and device_of(model).type == "cpu" else ()
    found = [(p, p.data) for p in parameters if p.dim() == 4]
    try:
        for parameter, before in found:
            parameter.data = before.contiguous(memory_format=torch.channels_last)
        if found and not _runs(model, x):
            for parameter, before in found:
                parameter.data = before
        yield model
    finally:
        for parameter, before in found:
            parameter.data = before


@contextmanager
def under_attack(x: Tensor, *models: Callable[..., Any] | None) -> Iterator[None]:
    """All of these for each of the models that take part in an attack on images (N, C, H, W)."""
    with ExitStack() as stack:
        for model in models:
            if model is not None:
                for manager in (evaluating(model), frozen(model), quick_to_images(model), channels_last(model, x)):
                    stack.enter_context(manager)
        yield


def _runs(model: Callable[..., Any], x: Tensor) -> bool:
    """Forward and back; a model that calls .view on what a convolution returned does not."""
    try:
        with torch.inference_mode(False), torch.enable_grad():
            x = x[:1].expand(2, *x.shape[1:]).clone().requires_grad_()
            z = model(x)
            if z.requires_grad:
                torch.autograd.grad(z.sum(), x, allow_unused=True)
    except RuntimeError:
        return False
    return True


def device_of(model: Callable[..., Any]) -> torch.device:
    """Where a model's parameters live; the CPU for a callable without any."""
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))
