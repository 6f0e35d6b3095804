"""What every evaluation is: settings, flags, and records that come one by one; nothing is written here."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gambeson.data import Dataset
from gambeson.engines import Batch, Engine, Judge, here
from gambeson.errors import RunError, UserError
from gambeson.evaluation.pilot import Estimate
from gambeson.models.guards import Flag, require, undisturbed
from gambeson.models.modes import device_of, evaluating
from gambeson.types import Classifier


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
    pilot: Callable[[list[int]], Estimate | None] = lambda _: None  # what these rows will cost, tried on a few

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for flag in self.flags:
            warnings.warn(flag.message, stacklevel=2)
        yield from self.records()

    def records(self, done: frozenset[int] | set[int] = frozenset(), engine: Engine = here) -> Iterator[dict[str, Any]]:
        """Records of every example whose stable index is not in `done`, as the engine gets them done."""
        hashes, indices = self.data.hashes(), self.data.indices.tolist()
        batches = [rows.tolist() for rows in torch.arange(len(self.data)).split(self.batch)]
        wanted = [rows for rows in batches if not done.issuperset(indices[row] for row in rows)]
        parts = (self._batch(number, rows) for number, rows in enumerate(wanted))
        missing = set(range(len(wanted)))
        for number, judged, seconds in engine(self.judge, parts):
            missing.remove(number)
            for row, fields in zip(wanted[number], judged, strict=True):
                if indices[row] not in done:
                    known = {"index": indices[row], "hash": hashes[row], "label": int(self.data.labels[row])}
                    yield {**known, **fields, "seconds": round(seconds / len(judged), 6)}
        if missing:
            raise RunError(f"{len(missing)} batches of images came back from no worker; give the same command again")

    def _batch(self, number: int, rows: list[int]) -> Batch:
        part = self.data.subset(rows)
        first, last = int(part.indices[0]), int(part.indices[-1])
        return Batch(number, part, f"image {first}" if first == last else f"images {first} to {last}")


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
