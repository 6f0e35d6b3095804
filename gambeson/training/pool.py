"""The training images as two tensors on the device, from a Dataset or from any iterable of (x, y)."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gambeson.data import Dataset
from gambeson.errors import UserError
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


def pool(data: Dataset | Iterable[Any]) -> Pool:
    """Gather a Dataset, or an iterable of (image, label) or (images, labels) pairs, into memory.

    >>> len(pool([(torch.rand(1, 2, 2), 0), (torch.rand(3, 1, 2, 2), torch.tensor([1, 0, 1]))]))
    4
    """
    if isinstance(data, Dataset):
        return Pool(data.images, data.labels, data.levels, data.fingerprint)
    images, labels = [], []
    for number, pair in enumerate(data):
        try:
            x, y = pair
            x, y = torch.as_tensor(x), torch.as_tensor(y)
        except (TypeError, ValueError) as error:
            raise UserError(f"data item {number} is not a pair (image, label): {error}") from None
        x, y = (x[None], y.reshape(1)) if x.ndim == 3 else (x, y)
        if x.ndim != 4 or y.ndim != 1 or len(x) != len(y) or not x.is_floating_point() or y.is_floating_point():
            raise UserError(
                f"data item {number} has images {x.dtype} {tuple(x.shape)} and labels {y.dtype} {tuple(y.shape)}; "
                "give float images (C, H, W) or (N, C, H, W) in [0, 1] with integer labels () or (N,)"
            )
        images.append(x.detach().cpu().float())
        labels.append(y.detach().cpu().long())
    if not images:
        raise UserError("data is empty; training needs at least one image")
    x, y = torch.cat(images), torch.cat(labels)
    if (broken := ~x.isfinite().flatten(1).all(1)).any():
        raise UserError(f"image {int(broken.int().argmax())} holds NaN or infinity; repair the data it comes from")
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise UserError(
            f"images reach from {x.min():g} to {x.max():g}; they must be in [0, 1]: divide by 255, or move "
            "the normalisation into the model's first layer"
        )
    digest = hashlib.sha256(x.numpy().tobytes() + y.numpy().tobytes()).hexdigest()
    return Pool(x, y, None, digest)


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
