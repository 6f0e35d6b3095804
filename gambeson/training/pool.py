"""The training images as two tensors on the device, from a Dataset or from any iterable of (x, y)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gambeson.data import Pairs, examples
from gambeson.types import Images, Labels

RESIDENT = 2**31  # bytes: a set larger than this stays in the host's memory and is copied batch by batch


@dataclass(frozen=True, eq=False)
class Pool:
    """Images as they are stored (uint8 with `levels`, or float in [0, 1]) and labels; `fingerprint` hashes both."""

    images: Tensor
    labels: Tensor
    levels: int | None
    fingerprint: str

    def __len__(self) -> int:
        return len(self.labels)


def pool(data: Pairs) -> Pool:
    """A Dataset, or any iterable of (x, y), as a pool.

    >>> len(pool([(torch.rand(1, 2, 2), 0), (torch.rand(3, 1, 2, 2), torch.tensor([1, 0, 1]))]))
    4
    """
    data = examples(data)
    return Pool(data.images, data.labels, data.levels, data.fingerprint)


def place(data: Pool, device: torch.device) -> Pool:
    """The pool on `device`, once, where it fits; else it stays in the host's memory."""
    if device.type == "cpu" or data.images.nbytes > RESIDENT:
        return data
    return Pool(data.images.to(device), data.labels.to(device), data.levels, data.fingerprint)


def batch(
    data: Pool, rows: Tensor, device: torch.device, dtype: torch.dtype, memory: torch.memory_format
) -> tuple[Images, Labels]:
    """The images `rows` in [0, 1], as float32 pixels cast to `dtype`, and their labels, on `device`."""
    rows = rows.to(data.images.device, non_blocking=True)
    x, y = data.images[rows].to(device, non_blocking=True), data.labels[rows].to(device, non_blocking=True)
    x = x.to(torch.float32)
    x = x if data.levels is None else x / data.levels
    return x.to(dtype, memory_format=memory), y
