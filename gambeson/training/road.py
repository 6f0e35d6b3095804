"""What does not change while training, and what is told about its progress."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gambeson.training.plan import Plan
from gambeson.training.pool import Pool

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Progress:
    """Where a run stands; `loss` is this epoch's mean so far, `seconds_left` an estimate from this session's rate."""

    epoch: int
    epochs: int
    step: int
    steps: int
    lr: float
    loss: float
    images_per_second: float
    seconds_left: float
    validation_accuracy: float | None


@dataclass(frozen=True, eq=False)
class Road:
    """Plan, data, devices, where to write and whom to tell."""

    plan: Plan
    data: Pool
    validation: Pool | None
    fabric: "Fabric"
    dtype: torch.dtype
    memory: torch.memory_format
    run: Path | None
    on_progress: Callable[[Progress], None] | None

    @property
    def steps_per_epoch(self) -> int:
        """The last batch of an epoch is smaller where the sizes do not divide; it is kept."""
        return math.ceil(len(self.data) / self.plan.train.batch)

    @property
    def steps(self) -> int:
        return self.plan.train.epochs * self.steps_per_epoch
