"""What an attack is tried on before it starts, and whom it aims at."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gambeson.attacks.by_name import cheapest, run
from gambeson.attacks.targets import least_likely, random_targets
from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.models.fingerprint import fingerprint
from gambeson.models.modes import device_of, evaluating, frozen
from gambeson.types import Classifier, Labels, Norm


def first_step(
    model: Classifier,
    data: Dataset,
    name: str,
    options: Mapping[str, Any],
    *,
    norm: Norm,
    eps: float | None,
    targeted: str | Labels | None,
    classes: int,
    source: Classifier | None = None,
) -> None:
    """The attack on one image with next to no budget, so that what it refuses is refused before anything is done."""
    x, y = data.pixels([0]).to(device_of(model)), data.labels[:1].to(device_of(model))
    first = targeted[:1] if isinstance(targeted, Tensor) else targeted
    with evaluating(model), frozen(model):
        targets = targets_of(first, model, x, y, classes, [0])
        run(name, cheapest(options), model, x, y, norm=norm, eps=eps, targets=targets, keys=[0], source=source)


def differentiable(model: Classifier, data: Dataset) -> bool:
    """Whether the logits of an image carry any gradient to it."""
    x = data.pixels([0]).to(device_of(model))
    with torch.inference_mode(False), torch.enable_grad(), evaluating(model), frozen(model):
        x = x.clone().requires_grad_()
        z = model(x)
        return bool(z.requires_grad) and torch.autograd.grad(z.sum(), x, allow_unused=True)[0] is not None


def targets_of(
    targeted: str | Labels | None, logits: Classifier, x: Tensor, y: Tensor, classes: int, keys: list[int]
) -> Tensor | None:
    if targeted is None:
        return None
    if isinstance(targeted, Tensor):
        return targeted.to(y)
    if targeted == "random":
        return random_targets(y, classes, keys)
    if targeted == "least_likely":
        with torch.no_grad():
            return least_likely(logits, x, y)
    raise UserError(f"targeted is {targeted!r}; it must be random or least_likely, a class per image, or left out")


def named(source: Classifier) -> str:
    """Which classifier adversarial images are made on, for the settings: a hash of its weights, or its name."""
    if isinstance(source, nn.Module):
        return fingerprint(source)
    return str(getattr(source, "__qualname__", type(source).__qualname__))
