"""Where a model lives, and leaving it as it was found: evaluation mode and frozen parameters, for a while."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

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


def device_of(model: Callable[..., Any]) -> torch.device:
    """Where a model's parameters live; the CPU for a callable without any."""
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))
