"""What every evaluation is: settings, flags, and records that come one by one; nothing is written here."""

import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gambeson.data import Dataset
from gambeson.engines import Engine, Judge, here
from gambeson.errors import UserError
from gambeson.evaluation.effort import Effort
from gambeson.evaluation.pilot import Estimate
from gambeson.evaluation.rounds import in_rounds
from gambeson.evaluation.work import Fields, Keep, Queue, Tell
from gambeson.models.guards import Flag, require, undisturbed
from gambeson.models.modes import device_of, evaluating
from gambeson.stats import Table
from gambeson.types import Classifier


@dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluation of one model on one data set; iterate over it for its records (dicts).

    Rows are judged in batches that are fixed in advance, up to `company` of them together. So an interrupted evaluation
    that goes on later, skipping what is `done`, gives the same records as one that was never interrupted, times apart.
    """

    kind: str
    settings: dict[str, Any]
    data: Dataset
    batch: int  # images whose records depend on each other, or might: 1 where they cannot
    judge: Judge
    flags: list[Flag] = field(default_factory=list)
    pilot: Callable[[list[int]], Estimate | None] = lambda _: None  # what these rows will cost, tried on a few
    table: Table | None = None  # of a budget for all images together: who goes on is decided in rounds
    company: int = 1  # batches that are judged together where there are so many for each worker
    effort: Callable[[list[int]], Effort | None] = lambda _: None  # at most, where that depends on how they hold out

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """In the order of the data."""
        for flag in self.flags:
            warnings.warn(flag.message, stacklevel=2)
        early: dict[int, dict[str, Any]] = {}
        wanted = deque(self.data.indices.tolist())
        for record in self.records():
            early[record["index"]] = record
            while wanted and wanted[0] in early:
                yield early.pop(wanted.popleft())

    def records(
        self,
        done: frozenset[int] | set[int] = frozenset(),
        engine: Engine = here,
        partial: Iterable[dict[str, Any]] = (),
        keep: Keep = lambda counts: None,
        tell: Tell = lambda note, draws=0: None,
    ) -> Generator[dict[str, Any], None, None]:
        """Records of every example whose stable index is not in `done`, in the order in which they are finished.

        keep: is given what was counted of images that are not finished yet, slice by slice, as JSON; partial: all that
        was given to it before, from which the images go on. tell: is told how it goes while no record can come.
        """
        if done.issuperset(self.data.indices.tolist()):
            return
        queue = Queue(self.data, self.company, partial)
        if self.table is None:
            finished = self._finished(done, engine, queue, keep, tell)
        else:
            radii = self.settings["budget"]["radii"]
            finished = in_rounds(queue, self.judge, self.table, radii, engine, keep, tell)
        for row, fields in finished:
            one = self.data.subset([row])
            if (index := int(one.indices)) not in done:
                about = {"index": index, "hash": one.hashes()[0], "label": int(one.labels)}
                yield {**about, **fields, "seconds": round(queue.seconds[row], 6)}

    def _finished(
        self, done: frozenset[int] | set[int], engine: Engine, queue: Queue, keep: Keep, tell: Tell
    ) -> Iterator[tuple[int, Fields]]:
        """Every row of every batch that is not done, as it is finished."""
        indices = self.data.indices.tolist()
        batches = [range(len(indices))[at : at + self.batch] for at in range(0, len(indices), self.batch)]
        queue.put(list(rows) for rows in batches if not done.issuperset(indices[row] for row in rows))
        for judged in engine(self.judge, queue.take):
            finished, counted = queue.back(judged)
            if images := [image for row, found in counted.items() if row not in finished for image in found]:
                keep({"images": images})
            for row, fields in finished.items():
                queue.answers[row] = {}  # many, and their record has all that is wanted of them
                yield row, fields
            if queue.draws:
                tell("", draws=queue.draws)
        queue.nothing_left()


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


def check_batch(batch: int | None) -> None:
    if batch is not None and batch < 1:
        raise UserError(f"batch is {batch}; it must be at least 1")
