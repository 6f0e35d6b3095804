"""Work that comes back: images, judged slice by slice until they are finished, each in whatever company.

Images that are judged together share calls of the model. Neither the noise nor the logits of one depend on the others,
so what is unfinished at the end of a slice goes on with other images, or elsewhere, and no record can tell.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from gambeson.data import Dataset
from gambeson.engines import Batch, Judge, Judged, Over
from gambeson.errors import RunError
from gambeson.sampling import Counts
from gambeson.smoothed.company import Answers

Fields = dict[str, Any]  # of a record
Keep = Callable[[dict[str, Any]], None]  # told what was counted of images that are not finished, slice by slice
Tell = Callable[..., None]  # told in words how it goes, if it can be said, and draws=n: those since it began
Found = tuple[Sequence[Fields | None], Sequence[Answers]]  # what a judge makes of each image: None if it is unfinished


@dataclass(frozen=True, eq=False)
class Work:
    """Images that are judged together, what was counted around each of them, and the look up to which each goes, where
    that is decided round by round.
    """

    data: Dataset
    answers: Sequence[Answers]
    until: Sequence[int | None]


def at_once(judge: Callable[[Dataset], list[Fields]]) -> Judge:
    """A judge that finishes what it is given, however long it takes."""

    def whole(work: Work, over: Over) -> Found:
        return judge(work.data), work.answers

    return whole


class Queue:
    """The images of an evaluation, by row: what is known of each, and which of them nobody has.

    company: how many parts, of those that are put in, are judged together at most. slices: what was kept of them
    before.
    """

    def __init__(self, data: Dataset, company: int, slices: Iterable[dict[str, Any]]) -> None:
        self.data, self.company, self.indices = data, company, data.indices.tolist()
        self.answers: list[Answers] = [{} for _ in range(len(data))]
        self.seconds = [0.0] * len(data)
        self.draws = 0  # that came back since it began
        self.until: list[int | None] = [None] * len(data)
        self.waiting: deque[list[int]] = deque()
        self.out: dict[int, list[int]] = {}  # what somebody has, by the number of its batch
        self.numbers = count()
        self._resume(slices)

    def _resume(self, slices: Iterable[dict[str, Any]]) -> None:
        rows = {index: row for row, index in enumerate(self.indices)}
        for image in (image for one in slices for image in one["images"] if image["index"] in rows):
            row, scores = rows[image["index"]], image.get("scores")
            scores = None if scores is None else np.array(scores, np.int64)
            found = Counts(np.array(image["counts"], np.int64), image["draws"], scores)
            self.answers[row] = {**self.answers[row], (image["stage"], image["first"]): found}
            self.seconds[row] = image["seconds"]

    def put(self, parts: Iterable[list[int]]) -> None:
        """Rows that wait from now on; those of one part are never parted before they are judged."""
        self.waiting.extend(parts)

    def take(self, workers: int) -> Batch | None:
        """For one of so many workers: the fewer parts are left for each of them, the fewer are handed out at once.

        A worker by itself gets a full company. Of several, each gets about half of its share of what waits (Hummel,
        Schonberg, Flynn 1992, "factoring"): calls are shared while there is much to do, and in the end every image is
        by itself, so that nobody waits for a large batch.
        """
        if not self.waiting:
            return None
        share = -(-len(self.waiting) // (2 * workers - 1))
        rows = [row for _ in range(min(share, self.company)) for row in self.waiting.popleft()]
        number = next(self.numbers)  # of this slice: an answer to an earlier one cannot be mistaken for its own
        self.out[number] = rows
        work = Work(self.data.subset(rows), [self.answers[row] for row in rows], [self.until[row] for row in rows])
        named = sorted(self.indices[row] for row in rows)
        title = f"image {named[0]}" if len(rows) == 1 else f"{len(rows)} images from {named[0]} to {named[-1]}"
        return Batch(number, work, title)

    def back(self, judged: Judged) -> tuple[dict[int, Fields], dict[int, list[dict[str, Any]]]]:
        """By row, what a slice found of images that are finished by now, and what it counted, as JSON.

        Its seconds are shared among the images as its draws were. What is not finished waits again, first of all.
        """
        rows = self.out.pop(judged.number)
        found, answers = judged.found
        drawn = [_draws(now) - _draws(self.answers[row]) for row, now in zip(rows, answers, strict=True)]
        self.draws += sum(drawn)
        finished: dict[int, Fields] = {}
        counted: dict[int, list[dict[str, Any]]] = {}
        left = []
        for row, fields, now, more in zip(rows, found, answers, drawn, strict=True):
            self.seconds[row] += judged.seconds * (more / sum(drawn) if any(drawn) else 1 / len(rows))
            before, self.answers[row] = self.answers[row], now
            counted[row] = self._as_json(row, before) if more else []
            if fields is None:
                left.append([row])
            else:
                finished[row] = fields
        self.waiting.extendleft(reversed(left))
        return finished, counted

    def _as_json(self, row: int, before: Answers) -> list[dict[str, Any]]:
        """All counts of an image that grew."""
        index, seconds = self.indices[row], round(self.seconds[row], 6)
        return [
            {"index": index, "stage": stage, "first": first, "seconds": seconds, **_counts_as_json(found)}
            for (stage, first), found in self.answers[row].items()
            if (stage, first) not in before or before[stage, first].draws < found.draws
        ]

    def at_rest(self) -> bool:
        """Whether nobody has anything, and nothing waits."""
        return not self.waiting and not self.out

    def nothing_left(self) -> None:
        """Called when an engine says that it is done: an evaluation must not end without some of its images."""
        if left := sum(map(len, [*self.out.values(), *self.waiting])):
            raise RunError(f"{left} images came back from no worker; give the same command again")


def _draws(answers: Answers) -> int:
    return sum(found.draws for found in answers.values())


def _counts_as_json(found: Counts) -> dict[str, Any]:
    scores = {} if found.scores is None else {"scores": found.scores.tolist()}
    return {"draws": found.draws, "counts": found.classes.tolist(), **scores}
