"""Work that comes back: batches of images, judged slice by slice until they are finished."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from gambeson.data import Dataset
from gambeson.engines import Batch, Judge, Over
from gambeson.errors import RunError
from gambeson.sampling import Counts
from gambeson.smoothed.company import Answers

Fields = list[dict[str, Any]]  # of records, one per image
Keep = Callable[[dict[str, Any]], None]  # told what was counted of images that are not finished, slice by slice
Found = tuple[Fields | None, Sequence[Answers]]  # what a judge makes of work: None where it is not finished


@dataclass(frozen=True, eq=False)
class Work:
    """Images that are judged together, what was counted around each of them, and the seconds that each took so far;
    until: of each, the look up to which it goes, where that is decided round by round.
    """

    data: Dataset
    answers: Sequence[Answers]
    seconds: float
    until: Sequence[int] | None = None

    def after(self, answers: Sequence[Answers], seconds: float) -> "Work":
        """The same after another slice, of so many seconds for all images."""
        return replace(self, answers=answers, seconds=self.seconds + seconds / len(self.data))


def at_once(judge: Callable[[Dataset], Fields]) -> Judge:
    """A judge that finishes what it is given, however long it takes."""

    def whole(work: Work, over: Over) -> Found:
        return judge(work.data), work.answers

    return whole


class Queue:
    """Work that nobody has: first what came back unfinished, then what is fresh."""

    def __init__(self, fresh: Iterable[Work]) -> None:
        self.fresh = iter(fresh)
        self.back: deque[Work] = deque()
        self.out: dict[int, Work] = {}  # what somebody has, by the number of its batch
        self.numbers = count()

    def take(self) -> Batch | None:
        work = self.back.popleft() if self.back else next(self.fresh, None)
        if work is None:
            return None
        number = next(self.numbers)  # of this slice: an answer to an earlier one cannot be mistaken for its own
        self.out[number] = work
        first, last = int(work.data.indices[0]), int(work.data.indices[-1])
        return Batch(number, work, f"image {first}" if first == last else f"images {first} to {last}")

    def nothing_left(self) -> None:
        """Called when an engine says that it is done: an evaluation must not end without some of its images."""
        if left := len(self.out) + len(self.back) + sum(1 for _ in self.fresh):
            raise RunError(f"{left} batches of images came back from no worker; give the same command again")


def as_slice(work: Work, before: Work) -> dict[str, Any]:
    """What a slice brought, as JSON."""
    images = [
        {"index": index, "stage": stage, "first": first, **_as_json(found)}
        for index, now, then in zip(work.data.indices.tolist(), work.answers, before.answers, strict=True)
        for (stage, first), found in now.items()
        if (stage, first) not in then or then[stage, first].draws < found.draws
    ]
    return {"seconds": round(work.seconds, 6), "images": images}


def _as_json(found: Counts) -> dict[str, Any]:
    scores = {} if found.scores is None else {"scores": found.scores.tolist()}
    return {"draws": found.draws, "counts": found.classes.tolist(), **scores}


class Resumed:
    """What slices brought before, by image."""

    def __init__(self, slices: Iterable[dict[str, Any]]) -> None:
        self.answers: dict[int, dict[tuple[str, int], Counts]] = defaultdict(dict)
        self.seconds: dict[int, float] = {}
        for one in slices:
            for image in one["images"]:
                scores = None if image.get("scores") is None else np.array(image["scores"], np.int64)
                found = Counts(np.array(image["counts"], np.int64), image["draws"], scores)
                self.answers[image["index"]][image["stage"], image["first"]] = found
                self.seconds[image["index"]] = one["seconds"]

    def work(self, data: Dataset) -> Work:
        indices = data.indices.tolist()
        answers = [self.answers.get(index, {}) for index in indices]
        return Work(data, answers, sum(self.seconds.get(index, 0.0) for index in indices) / len(indices))
