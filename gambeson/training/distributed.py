"""One process or several: each has a rank, a slice of every batch, and the mean of all gradients.

Losses run on the plain module, not on a wrapper: a wrapper's hooks see one forward and one backward a step, and
attacks, several passes or a double backward break that assumption. Gradients are flattened and summed over the ranks
once a step.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from gambeson.errors import UserError
from gambeson.machine import usable

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def start(device: str, devices: int, precision: str) -> "Fabric":
    """Join (or launch) the processes of this run. `device` is auto (cuda where there is one, else cpu), cpu or cuda."""
    from lightning_fabric import Fabric  # two seconds: not when this module is only imported

    if devices < 1:
        raise UserError(f"devices is {devices}; it must be >= 1")
    device = usable(device)  # Fabric's own choice may be mps, which has no float64: sums, distances and attacks need it
    strategy, kind = "auto" if devices == 1 else "ddp", cast(Any, precision)
    try:
        fabric = Fabric(accelerator=device, devices=devices, strategy=strategy, precision=kind)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"device {device!r} with {devices} processes cannot be used: {error}") from None
    fabric.launch()
    return fabric


def slice_of(rows: Tensor, rank: int, ranks: int) -> Tensor:
    """This rank's part of a batch: sizes differ by one at most, and may be zero.

    >>> [slice_of(torch.arange(5), rank, 2).tolist() for rank in range(2)]
    [[0, 1, 2], [3, 4]]
    """
    return rows.tensor_split(ranks)[rank]


def weighted_sum(tensors: list[Tensor], share: float, fabric: "Fabric") -> list[Tensor]:
    """Each tensor's sum over the ranks of share * tensor, in one message; `share` is this rank's part of the batch."""
    if fabric.world_size == 1 or not tensors:
        return tensors
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors]) * share
    torch.distributed.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


def same_everywhere(tensors: Iterable[Tensor], fabric: "Fabric") -> None:
    """Copy rank 0's values to every rank, in place."""
    if fabric.world_size > 1:
        for tensor in tensors:
            torch.distributed.broadcast(tensor.data, src=0)


def gathered(value: Any, fabric: "Fabric") -> list[Any]:
    """`value` of every rank, in the order of the ranks, on every rank."""
    if fabric.world_size == 1:
        return [value]
    found: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(found, value)
    return found
