"""What a certification will cost, before it starts: a few draws of a few images, which are used for nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from gambeson.data import Dataset
from gambeson.sampling import counts
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.procedure import Ask
from gambeson.stats import Plan, Table, expected_draws, expected_in_rounds

IMAGES, EACH = 64, 100
FEW_CALLS, FEW_SECONDS = 200, 10  # of the most that there can be to do: not worth an estimate
SECONDS, SHARE = 2.0, 1e-3  # the longer of these: a grid takes about a tenth of the most draws, so about 1 % of it


@dataclass(frozen=True)
class Estimate:
    """So many `images` are left, at so many `draws` each (selection included), of which `made` are there already, by
    all images together; `rate` a second in one process.
    """

    images: int
    draws: float
    rate: float
    made: int = 0

    @property
    def left(self) -> float:
        """Draws."""
        return max(self.images * self.draws - self.made, 0.0)

    @property
    def seconds(self) -> float:
        """In one process."""
        return self.left / self.rate


def pilot(
    smoothed: Smoothed,
    data: Dataset,
    rows: Sequence[int],
    *,
    select_draws: int,
    draws: int,
    plan: Plan | Table | None = None,
    stop_wrong: bool = False,
) -> Estimate | None:
    """What `rows` of `data` will cost under `plan` (of an image, or of a table of all), without one with `draws` each;
    None where that is next to nothing.

    The noise has a purpose of its own, so no draw decides twice. The rate is that of shared calls after one that warms
    up. The most frequent class of an image's pilot draws stands for the one that will be selected.
    """
    most, batch = len(rows) * (select_draws + draws), smoothed.base.form.batch
    if most < FEW_CALLS * batch:
        return None
    spread = np.linspace(0, len(rows) - 1, min(IMAGES, len(rows))).round().astype(int)
    part = data.subset([rows[place] for place in spread])
    _count(smoothed, part.subset([0]), Ask("warm", 0, batch))
    _, rate = _count(smoothed, part.subset([0]), Ask("warm", batch, batch))
    if most / rate < FEW_SECONDS:
        return None
    each = min(EACH, max(1, int(max(SECONDS * rate, SHARE * most)) // len(part)))
    votes, rate = _count(smoothed, part, Ask("estimate", 0, each))
    if plan is None:
        return Estimate(len(rows), select_draws + draws, rate)
    hits, right = votes.max(1), votes.argmax(1) == part.labels.numpy()
    if isinstance(plan, Table):
        return Estimate(len(rows), select_draws + expected_in_rounds(plan, hits, each, right), rate)
    expected = expected_draws(plan, hits, each)
    if stop_wrong:
        expected[~right] = 0
    return Estimate(len(rows), select_draws + float(expected.mean()), rate)


def _count(smoothed: Smoothed, part: Dataset, ask: Ask) -> tuple[NDArray[np.int64], float]:
    """Votes (images, classes), and draws a second."""
    start = perf_counter()
    images = zip(part.pixels(), part.indices.tolist(), strict=True)
    requests = [smoothed.request(image, index, ask, "pilot") for image, index in images]
    found = counts(smoothed.base, requests, noise=smoothed.noise, classes=smoothed.classes)
    rate = len(part) * ask.draws / (perf_counter() - start)
    return np.stack([one.classes for one in found]), rate
