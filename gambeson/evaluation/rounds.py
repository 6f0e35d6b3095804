"""A budget for a whole table: images go on in rounds, and who goes how far depends on the counts of all of them alone.

A round ends when every image has come as far as it was sent; only then is the next one decided. So neither the number
of workers nor a stop can change a record: what was counted is kept after every slice, and a resumed evaluation goes
through the same rounds again, asking for nothing that it knows.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from gambeson.engines import Engine, Judge
from gambeson.evaluation.work import Fields, Keep, Queue, Tell
from gambeson.smoothed.in_rounds import standing
from gambeson.stats import Table


def in_rounds(
    queue: Queue, judge: Judge, table: Table, radii: Sequence[float], engine: Engine, keep: Keep, tell: Tell
) -> Iterator[tuple[int, Fields]]:
    """Every row of the queue's data and what was found of it, in order, when the table is known.

    radii: of the table's cells. tell: is told after every slice which round it is, how the table stood when that began,
    and the draws so far.
    """
    labels, rounds, middle, note = queue.data.labels.tolist(), count(1), len(radii) // 2, ""
    fields: list[dict[str, Any]] = [{} for _ in labels]
    standings = [table.begin()] * len(labels)

    def next_round() -> None:
        nonlocal note
        looks = table.next_looks(standings)
        going = [row for row, look in enumerate(looks) if look > standings[row].look]
        if going:
            certified = sum(one.certified > middle for one in standings) / len(labels)
            widest = table.undecided(standings).max() / len(labels)
            at = f"certified at {radii[middle]:g}: {certified:.3f}"
            note = f"round {next(rounds)}: {len(going)} images, {at}, error {widest:.3f}"
        for row in going:
            queue.until[row] = looks[row]
        queue.put([row] for row in going)

    next_round()
    tell(note)
    for judged in engine(judge, queue.take):
        finished, counted = queue.back(judged)
        if images := [image for found in counted.values() for image in found]:  # no image has a record before the end
            keep({"images": images})
        for row, found in finished.items():
            fields[row], standings[row] = found, standing(table, found["looks"], found["selected"] == labels[row])
        if queue.at_rest():
            next_round()
        tell(note, draws=queue.draws)
    queue.nothing_left()
    yield from enumerate(fields)
