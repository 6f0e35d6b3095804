"""The largest value of a function of one variable, for many parameters at once."""

from collections.abc import Callable

import numpy as np

from ._inputs import Floats

FINER = np.linspace(0, 1, 33)[:, None]


def maximise(value: Callable[[Floats], Floats], grid: Floats, size: int, rounds: int = 6) -> tuple[Floats, Floats]:
    """(argument, value) of the best point found: a grid, then ever finer ones between the best point's neighbours.

    `value` takes points (points, size) and gives as many values; few calls of it, as single radii are asked for one by
    one. Every value tried is reached, so the answer is never above the true supremum.
    """
    points, every = np.broadcast_to(grid[:, None], (len(grid), size)), np.arange(size)
    best_x, best = np.zeros(size), np.full(size, -np.inf)
    for _ in range(1 + rounds):
        values = value(points)
        index = values.argmax(0)
        better = values[index, every] > best
        best_x = np.where(better, points[index, every], best_x)
        best = np.where(better, values[index, every], best)
        low, high = points[np.maximum(index - 1, 0), every], points[np.minimum(index + 1, len(points) - 1), every]
        points = low + (high - low) * FINER
    return best_x, best
