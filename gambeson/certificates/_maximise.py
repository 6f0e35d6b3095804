"""The largest value of a function of one variable, for many parameters at once."""

from collections.abc import Callable

import numpy as np

from ._inputs import Floats

GOLDEN = (np.sqrt(5.0) - 1) / 2


def maximise(value: Callable[[Floats], Floats], grid: Floats, size: int, steps: int = 40) -> tuple[Floats, Floats]:
    """(argument, value) of the best point found: a coarse grid, then golden section around its best point.

    Every value tried is reached, so the answer is never above the true supremum.
    """
    rows = np.stack([value(np.full(size, x)) for x in grid]) if size else np.zeros((len(grid), 0))
    index = rows.argmax(0)
    best_x, best = grid[index], rows[index, np.arange(size)]
    low, high = grid[np.maximum(index - 1, 0)], grid[np.minimum(index + 1, len(grid) - 1)]
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = value(left), value(right)
    for _ in range(steps):
        rises = at_left < at_right
        low, high = np.where(rises, left, low), np.where(rises, high, right)
        fresh = np.where(rises, low + GOLDEN * (high - low), high - GOLDEN * (high - low))
        at_fresh = value(fresh)
        better = at_fresh > best
        best_x, best = np.where(better, fresh, best_x), np.where(better, at_fresh, best)
        left, right = np.where(rises, right, fresh), np.where(rises, fresh, left)
        at_left, at_right = np.where(rises, at_right, at_fresh), np.where(rises, at_fresh, at_left)
    return best_x, best
