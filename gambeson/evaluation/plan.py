"""What every evaluation is: settings, flags, and records that come one by one; nothing is written here."""

import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gambeson.data import Dataset
from gambeson.engines import Engine, Judge, here
from gambeson.errors import UserError
from gambeson.evaluation.pilot import Estimate
from gambeson.evaluation.rounds import in_rounds
from gambeson.evaluation.work import Fields, Keep, Queue, Resumed, Work, as_slice
from gambeson.models.guards import Flag, require, undisturbed
from gambeson.models.modes import device_of, evaluating
from gambeson.stats import Table
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
    table: Table | None = None  # of a budget for all images together: who goes on is decided in rounds

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for flag in self.flags:
            warnings.warn(flag.message, stacklevel=2)
        yield from self.records()

    def records(
        self,
        done: frozenset[int] | set[int] = frozenset(),
        engine: Engine = here,
        partial: Iterable[dict[str, Any]] = (),
        keep: Keep = lambda counts: None,
        tell: Callable[[str], None] = lambda word: None,
    ) -> Generator[dict[str, Any], None, None]:
        """Records of every example whose stable index is not in `done`, as the engine gets them done.

        keep: is given what was counted of images that are not finished yet, slice by slice, as JSON; partial: all that
        was given to it before, from which the images go on. tell: is told how it goes while no record can come.
        """
        if done.issuperset(self.data.indices.tolist()):
            return
        if self.table is None:
            finished = self._finished(done, engine, Resumed(partial), keep)
        else:
            finished = in_rounds(self.data, self.judge, self.table, self.batch, engine, Resumed(partial), keep, tell)
        for work, fields in finished:
            indices, hashes, labels = work.data.indices.tolist(), work.data.hashes(), work.data.labels.tolist()
            for index, sha, label, found in zip(indices, hashes, labels, fields, strict=True):
                if index not in done:
                    yield {"index": index, "hash": sha, "label": label, **found, "seconds": round(work.seconds, 6)}

    def _finished(
        self, done: frozenset[int] | set[int], engine: Engine, resumed: Resumed, keep: Keep
    ) -> Iterator[tuple[Work, Fields]]:
        """Every batch that is not done, as it is finished, each for itself."""
        batches = torch.arange(len(self.data)).split(self.batch)
        wanted = [rows for rows in batches if not done.issuperset(self.data.indices[rows].tolist())]
        queue = Queue(resumed.work(self.data.subset(rows)) for rows in wanted)
        for number, (fields, answers), seconds in engine(self.judge, queue.take):
            before = queue.out.pop(number)
            work = before.after(answers, seconds)
            if fields is None:
                keep(as_slice(work, before))
                queue.back.append(work)
            else:
                yield work, fields
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
