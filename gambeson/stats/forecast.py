"""What an adaptive plan will do to an image whose class has probability p: exactly, by recursion."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._counts import Floats, fraction
from .adaptive import Plan
from .group_sequential import binomial_misses

Whole = NDArray[np.int64]


class Forecast(NamedTuple):
    """Expected draws (of the estimation alone), and the chance of certifying each of the plan's thresholds."""

    draws: float
    certified: Floats


def forecast(plan: Plan, p: float) -> Forecast:
    """Exact up to rounding (relative 1e-9) for independent draws that hit with probability p in (0, 1].

    >>> from .adaptive import plan
    >>> made = plan([0.5, 0.9], alpha=0.001, cap=1_000)
    >>> round(forecast(made, 0.95).draws), forecast(made, 0.95).certified.round(3).tolist()
    (516, [1.0, 0.998])
    """
    hit = 1.0 if p == 1 else float(fraction("p", p))
    levels = len(plan.thresholds)
    mass: dict[int, Floats] = {0: np.ones(1)}  # by level: P(misses = least + i, still drawing)
    least = {0: 0}
    draws, reached, before = 0.0, np.zeros(levels + 1), 0
    for look, n in enumerate(plan.looks):
        low, step = (0, np.ones(1)) if hit == 1 else binomial_misses(n - before, hit)[:2]
        fresh: dict[int, tuple[int, Floats]] = {}
        for level, row in mass.items():
            spread, start = np.convolve(row, step), least[level] + low
            draws += (n - before) * float(row.sum())
            misses = start + np.arange(len(spread))
            # Misses grow, so levels fall and going on ends: cut the row where either changes.
            at = np.maximum(level, (misses[:, None] <= plan.certifies[None, :, look]).sum(1))
            on = _goes_on(plan, look, misses, at)
            np.add.at(reached, at[~on], spread[~on])
            for new in np.unique(at[on]):
                chosen = np.flatnonzero(on & (at == new))
                first, piece = int(misses[chosen[0]]), spread[chosen]
                fresh[int(new)] = _joined(fresh.get(int(new)), first, piece)
        mass, least, before = {k: v[1] for k, v in fresh.items()}, {k: v[0] for k, v in fresh.items()}, n
    certified = reached[::-1].cumsum()[::-1][1:]
    return Forecast(draws, certified)


def _goes_on(plan: Plan, look: int, misses: Whole, level: Whole) -> NDArray[np.bool_]:
    if look == len(plan.looks) - 1:
        return np.zeros(len(misses), dtype=bool)
    most = np.append(plan.continues[:, look], -1)[level]
    return np.asarray(misses <= most)


def _joined(have: tuple[int, Floats] | None, first: int, piece: Floats) -> tuple[int, Floats]:
    """The sum of two rows that begin at different counts."""
    if have is None:
        return first, piece
    start, end = min(have[0], first), max(have[0] + len(have[1]), first + len(piece))
    row = np.zeros(end - start)
    row[have[0] - start :][: len(have[1])] += have[1]
    row[first - start :][: len(piece)] += piece
    return start, row
