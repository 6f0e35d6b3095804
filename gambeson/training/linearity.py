"""How far from linear the loss is around held-out images during training: gamma of `attacks.local_linearity`."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from gambeson.attacks.local_linearity import local_linearity
from gambeson.models import evaluating, frozen
from gambeson.training.pool import Pool, batch
from gambeson.types import Ball

if TYPE_CHECKING:
    from lightning_fabric import Fabric

IMAGES, STEPS = (
    100,
    20,
)  # one start: a trend over epochs, at the price of 2,100 gradients; `gambeson check` looks harder


def gamma(
    model: nn.Module, data: Pool, eps: float, fabric: "Fabric", dtype: torch.dtype, memory: torch.memory_format
) -> float:
    """The mean over the first images of `data` in linf, by sign steps of eps / 10; every rank finds the same."""
    x, y = batch(data, torch.arange(min(IMAGES, len(data))), fabric.device, dtype, memory)
    with evaluating(model), frozen(model), fabric.autocast():
        found = local_linearity(model, x, y, ball=Ball("linf", eps), steps=STEPS, restarts=1)
    return float(found.gamma.mean())
