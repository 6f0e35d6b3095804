"""What a table will take: its rounds, played with images whose probabilities are known or supposed."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._counts import Floats, successes
from .expected import NODES, posterior
from .table import Standing, Table

PLAYED = 500  # images that stand for all


def played(table: Table, p: Floats, generator: np.random.Generator) -> list[Standing]:
    """Where images stand when the rounds have ended, if their classes have the probabilities `p`: a simulation.

    Fewer images than the table has: the others have nothing to decide.
    """
    found, draws = [table.begin()] * len(p), np.array([0, *table.plan.looks])
    while True:
        going = [(row, look) for row, look in enumerate(table.next_looks(found)) if look > found[row].look]
        if not going:
            return found
        for row, look in going:
            one = found[row]
            more = generator.binomial(np.diff(draws[one.look + 1 : look + 2]), 1 - p[row])
            found[row] = table.after(one, (one.misses + more.cumsum()).tolist())


def expected_in_rounds(table: Table, hits: ArrayLike, draws: ArrayLike, right: NDArray[np.bool_]) -> float:
    """Expected draws of an image of the table: the mean of one game that `played` plays, the same every time.

    hits, draws: of some images, in draws that are not used again; what they say of p is `posterior`. right: (images,),
    which of them have anything to decide; the others get no draws.
    """
    if not right.any():
        return 0.0
    k, n = successes(hits, draws)
    chances = posterior(k[right], n[right])
    generator, images = np.random.default_rng(0), min(PLAYED, table.images)
    some = chances[np.arange(round(images * right.mean())) % len(chances)]
    p = np.array([generator.choice(NODES, p=row) for row in some])
    ended = played(replace(table, images=images), p, generator)
    return sum(table.plan.looks[max(one.look, 0)] for one in ended) / images  # the first look, everybody takes
