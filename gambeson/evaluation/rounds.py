"""A budget for a whole table: images go on in rounds, and who goes how far depends on the counts of all of them alone.

A round ends when every image has come as far as it was sent; only then is the next one decided. So neither the number
of workers nor a stop can change a record: what was counted is kept after every slice, and a resumed evaluation goes
through the same rounds again, asking for nothing that it knows.
"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from gambeson.data import Dataset
from gambeson.engines import Engine, Judge
from gambeson.evaluation.work import Fields, Keep, Queue, Resumed, Work, as_slice
from gambeson.smoothed.in_rounds import standing
from gambeson.stats import Table


def in_rounds(
    data: Dataset,
    judge: Judge,
    table: Table,
    company: int,
    engine: Engine,
    resumed: Resumed,
    keep: Keep,
    tell: Callable[[str], None],
) -> Iterator[tuple[Work, Fields]]:
    """Every image by itself, in order, when the table is known; `company` of them share calls of the model.

    tell: is told how it goes when a round begins.
    """
    images = [resumed.work(data.subset([row])) for row in range(len(data))]
    fields: list[dict[str, Any]] = [{} for _ in images]
    standings = [table.begin()] * len(images)
    row_of = {index: row for row, index in enumerate(data.indices.tolist())}
    queue, rounds = Queue(()), count(1)

    def next_round() -> None:
        looks = table.next_looks(standings)
        going = [row for row, look in enumerate(looks) if look > standings[row].look]
        if going:
            most = table.undecided(standings).max() / len(data)
            tell(f"round {next(rounds)}: {len(going)} images go on, undecided in a cell: at most {most:.3f}")
        for start in range(0, len(going), company):
            rows = going[start : start + company]
            seconds = sum(images[row].seconds for row in rows) / len(rows)
            answers = [images[row].answers[0] for row in rows]
            queue.back.append(Work(data.subset(rows), answers, seconds, [looks[row] for row in rows]))

    next_round()
    for number, (found, answers), seconds in engine(judge, queue.take):
        before = queue.out.pop(number)
        work = before.after(answers, seconds)
        if (counted := as_slice(work, before))["images"]:
            keep(counted)
        if found is None:
            queue.back.append(work)
            continue
        for index, known, one in zip(work.data.indices.tolist(), answers, found, strict=True):
            row = row_of[index]
            images[row] = Work(images[row].data, [known], work.seconds)
            fields[row] = one
            standings[row] = standing(table, one["looks"], one["selected"] == int(images[row].data.labels[0]))
        if not queue.out and not queue.back:
            next_round()
    queue.nothing_left()
    for work, one in zip(images, fields, strict=True):
        yield work, [one]
