"""Accuracy on held-out images during training. Never the test set."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from gambeson.models import evaluating
from gambeson.training.distributed import slice_of
from gambeson.training.pool import Pool, batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

ROWS = 1000  # images per call


def accuracy(model: nn.Module, data: Pool, fabric: "Fabric", dtype: torch.dtype, memory: torch.memory_format) -> float:
    """The fraction of `data`, without noise, that `model` in evaluation mode gets right; every rank does its slice."""
    right = torch.zeros((), dtype=torch.int64, device=fabric.device)
    rows = slice_of(torch.arange(len(data)), fabric.global_rank, fabric.world_size)
    with torch.no_grad(), evaluating(model), fabric.autocast():
        for part in rows.split(ROWS):
            if len(part):
                x, y = batch(data, part, fabric.device, dtype, memory)
                right += (model(x).argmax(1) == y).sum()
    if fabric.world_size > 1:
        torch.distributed.all_reduce(right)
    return int(right) / len(data)
