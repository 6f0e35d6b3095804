"""A labelled set of images: the publisher's integers, and for every example a stable index and a content hash."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gambeson.errors import UserError
from gambeson.types import Images

Rows = Sequence[int] | Tensor | slice


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels of one split; `x = images / levels`.

    Args:
        name: what `load` was asked for: "mnist", "npz:PATH".
        split: "train", "validation" or "test".
        images: uint8 (N, C, H, W), integers 0..levels; or float32 in [0, 1] when `levels` is None (not on a lattice).
        labels: int64 (N,), each in 0..len(classes)-1.
        levels: 255 for 8-bit images, 16 for the embedded digits, or None.
        classes: the name of each class.
        indices: int64 (N,), each row's position in the publisher's split (train and validation share one numbering).

    Raises:
        UserError: a field has the wrong shape or type, or an image or a label is outside its range (the row is named).

    >>> image = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    >>> data = Dataset("toy", "test", image, torch.tensor([1]), 255, ("a", "b"), torch.tensor([0]))
    >>> data.pixels().tolist()
    [[[[0.0, 1.0]]]]
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor
    levels: int | None
    classes: tuple[str, ...]
    indices: Tensor

    def __post_init__(self) -> None:
        wanted = torch.float32 if self.levels is None else torch.uint8
        if self.images.ndim != 4 or self.images.dtype != wanted:
            found = f"{self.images.dtype} {tuple(self.images.shape)}"
            rule = f"{wanted} (N, C, H, W) when levels is {self.levels}"
            raise UserError(f"{self.name}: images are {found}; they must be {rule}")
        for field, values in (("labels", self.labels), ("indices", self.indices)):
            if values.dtype != torch.int64 or tuple(values.shape) != (len(self.images),):
                found, rule = f"{values.dtype} {tuple(values.shape)}", f"int64 ({len(self.images)},), one per image"
                raise UserError(f"{self.name}: {field} are {found}; they must be {rule}")
        if self.levels is not None and not 1 <= self.levels <= 255:
            raise UserError(f"{self.name}: levels is {self.levels}; it must be 1 to 255, or None for float images")
        top = 1 if self.levels is None else self.levels
        if self.levels != 255:
            rows = self.images.flatten(1)
            self._refuse(~((rows >= 0) & (rows <= top)).all(1), f"image has a value outside 0..{top} (or NaN)")
        outside = (self.labels < 0) | (self.labels >= len(self.classes))
        self._refuse(outside, f"label is outside 0..{len(self.classes) - 1}")

    def _refuse(self, bad: Tensor, what: str) -> None:
        if bad.any():
            row = int(bad.nonzero()[0, 0])
            seen = f"label {int(self.labels[row])}, stable index {int(self.indices[row])}"
            raise UserError(f"{self.name}, {self.split}, row {row} ({seen}): {what}; correct the data")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        """One example: pixels float32 (C, H, W) in [0, 1] and its label."""
        return self.pixels([row])[0], int(self.labels[row])

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return (self[row] for row in range(len(self)))

    def pixels(self, rows: Rows | None = None) -> Images:
        """The images of `rows` (all by default) as a new float32 tensor (n, C, H, W) in [0, 1]: `images / levels`."""
        chosen = self.images[slice(None) if rows is None else _selector(rows)]
        return chosen.to(torch.float32, copy=True) if self.levels is None else chosen.to(torch.float32) / self.levels

    def subset(self, rows: Rows) -> "Dataset":
        """The examples in `rows` (integers, a mask or a slice), in that order; each keeps its stable index."""
        chosen = _selector(rows)
        images, labels, indices = self.images[chosen], self.labels[chosen], self.indices[chosen]
        return Dataset(self.name, self.split, images, labels, self.levels, self.classes, indices)

    def every(self, step: int, limit: int | None = None) -> "Dataset":
        """The examples whose stable index is a multiple of `step` (20: every 20th image), at most `limit` of them."""
        if step < 1 or (limit is not None and limit < 0):
            raise UserError(f"every: step is {step} and limit is {limit}; step must be >= 1 and limit >= 0 or None")
        return self.subset((self.indices % step == 0).nonzero()[:, 0][:limit])

    def hashes(self) -> list[str]:
        """For each example the first 16 hexadecimal digits of sha256(type, shape, levels, label, image bytes)."""
        words = f"{self.images.dtype} {tuple(self.images.shape[1:])} levels={self.levels} label="
        rows = self.images.contiguous().numpy()
        found = []
        for row, label in zip(rows, self.labels.tolist(), strict=True):
            digest = hashlib.sha256(f"{words}{label}\n".encode())
            digest.update(row.data)
            found.append(digest.hexdigest()[:16])
        return found

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over everything but the name, which may be a path that moves: one changed pixel changes it."""
        form = f"{self.images.dtype} {tuple(self.images.shape)} levels={self.levels}"
        digest = hashlib.sha256(f"{self.split} {form} {list(self.classes)}\n".encode())
        for part in (self.indices, self.labels, self.images):
            digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()


def _selector(rows: Rows) -> Tensor | slice:
    if isinstance(rows, slice):
        return rows
    chosen = torch.as_tensor(rows)
    return chosen if chosen.dtype == torch.bool else chosen.to(torch.int64)  # an empty list would be float
