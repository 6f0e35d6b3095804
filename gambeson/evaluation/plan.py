"""What every evaluation is: settings, flags, and records that come one by one; nothing is written here."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.models.guards import Flag, require, undisturbed
from gambeson.models.modes import device_of, evaluating
from gambeson.types import Classifier

Judge = Callable[[Tensor], list[dict[str, Any]]]  # rows of the data -> one record's fields per row


@dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluation of one model on one data set; iterate over it for its records (dicts).

    Rows are judged in batches that are fixed in advance, so that an interrupted evaluation that goes on later, skipping
    what is `done`, gives the same records as one that was never interrupted, times apart.
    """

    kind: str
    settings: dict[str, Any]
    data: Dataset
    batch: int
    judge: Judge
    flags: list[Flag] = field(default_factory=list)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for flag in self.flags:
            warnings.warn(flag.message, stacklevel=2)
        yield from self.records()

    def records(self, done: frozenset[int] | set[int] = frozenset()) -> Iterator[dict[str, Any]]:
        """Records of every example whose stable index is not in `done`, in the order of the data."""
        hashes = self.data.hashes()
        for rows in torch.arange(len(self.data)).split(self.batch):
            indices = self.data.indices[rows].tolist()
            if done.issuperset(indices):
                continue
            start = perf_counter()
            judged = self.judge(rows)
            seconds = round((perf_counter() - start) / len(rows), 6)
            for row, index, fields in zip(rows.tolist(), indices, judged, strict=True):
                if index not in done:
                    label = int(self.data.labels[row])
                    yield {"index": index, "hash": hashes[row], "label": label, **fields, "seconds": seconds}


def inspect(model: Classifier, data: Dataset) -> tuple[int, list[Flag]]:
    """The model's number of classes and the doubts about it; the field's usual mistakes are refused with their
    remedy.
    """
    if not len(data):
        raise UserError(f"{data.name} {data.split}: there is no image to evaluate")
    rows = torch.arange(min(len(data), 128))
    x, y = data.pixels(rows).to(device_of(model)), data.labels[rows].to(device_of(model))
    known = len(data.classes)
    classes = known if data.levels is not None else max(known, _logits(model, x[:2]))
    return classes, require(model, x, y, classes)


@torch.no_grad()
def _logits(model: Classifier, x: Tensor) -> int:
    """How many logits a model gives, for data that does not know its classes; 0 where it fails (the guards say why)."""
    with undisturbed(model), evaluating(model):
        try:
            return int(model(x).shape[1])
        except Exception:
            return 0
