"""Where draws change a table of certified accuracy most: which images go on, and how far, round by round.

A cell of the table is the share of images that certify a threshold. It is known up to the images that are undecided
there: neither certified nor ruled out. A round looks at the counts of all images, and at nothing else, and sends on
those whose draws are expected to decide most of what is still too uncertain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ..errors import UserError
from ._counts import Floats
from .adaptive import Plan
from .futility import NODES
from .ruled_out import ruled_out

Whole = NDArray[np.int64]
SHARE = 0.5  # of the best image's gain for its draws, from which an image goes on in the same round


@dataclass(frozen=True)
class Standing:
    """Of one image: its last look (-1: none yet), the misses there, and that it certifies the first `certified`
    thresholds and reaches none from the first `possible` on.
    """

    look: int
    misses: int
    certified: int
    possible: int


@dataclass(frozen=True, eq=False)
class Table:
    """Cells that are wanted to within `error`, a share of all `images`. A threshold that an image does reach is ruled
    out with probability `plan.alpha` at most.
    """

    plan: Plan
    images: int
    error: float
    ruled_out: Whole  # (thresholds, looks): the least misses

    def standing(self, misses: Sequence[int]) -> Standing:
        """Where an image stands after its first looks, with so many misses at each."""
        certified, possible = 0, len(self.plan.thresholds)
        for look, count in enumerate(misses):
            certified = self.plan.level(look, count, certified)
            possible = min(possible, int((count < self.ruled_out[:, look]).sum()))
        # What is certified is claimed, even if it is ruled out later: one of the two is wrong, as rarely as stated.
        return Standing(len(misses) - 1, misses[-1] if misses else 0, certified, max(certified, possible))

    def undecided(self, standings: Sequence[Standing]) -> Whole:
        """How many images are undecided at each threshold."""
        found = np.zeros(len(self.plan.thresholds), dtype=np.int64)
        for one in standings:
            found[one.certified : one.possible] += 1
        return found

    def next_looks(self, standings: Sequence[Standing]) -> list[int]:
        """The look that each image is to go to, its present one where it waits; all wait when the table is known well
        enough or no draws are left.

        An image's gain at a later look is the expected number of thresholds decided there, of those whose cells are not
        yet known to within `error`, for its draws; p ~ Beta(hits + 1/2, misses + 1/2). The image goes where its gain is
        largest, if that is at least half of the largest of all.
        """
        wanted = self.undecided(standings) > self.error * self.images
        last = len(self.plan.looks) - 1
        gains: dict[Standing, tuple[float, int]] = {}
        for one in set(standings):
            open_ = [t for t in range(one.certified, one.possible) if wanted[t]]
            if open_ and one.look < last:
                gains[one] = self._gain(one, open_)
        least = SHARE * max((gain for gain, _ in gains.values()), default=0.0)
        return [gains[one][1] if one in gains and gains[one][0] >= least else one.look for one in standings]

    def _gain(self, one: Standing, thresholds: list[int]) -> tuple[float, int]:
        """The best expected number of decisions a draw, and the look at which it is had."""
        if one.look < 0:  # nothing is known: everybody takes a first look
            return np.inf, 0
        later = slice(one.look + 1, None)
        draws, hits = np.array(self.plan.looks), self.plan.looks[one.look] - one.misses
        miss = special.betaincinv(one.misses + 0.5, hits + 0.5, (np.arange(NODES) + 0.5) / NODES)
        more = draws[later] - draws[one.look]
        decided: Floats = np.zeros(len(more))
        for row in thresholds:
            few = self.plan.certifies[row, later] - one.misses
            many = self.ruled_out[row, later] - one.misses - 1
            decided += np.where(few < 0, 0, _at_most(few, more, miss)) + 1 - _at_most(many, more, miss)
        place = int(np.argmax(decided / more))
        return float(decided[place] / more[place]), one.look + 1 + place


def table(plan: Plan, images: int, error: float, rule: str) -> Table:
    """A table of `images` images with the radii of `plan`, whose limits are those of `rule`.

    error: in [0, 1), the share of images that may stay undecided in a cell. Raises UserError.
    """
    if not 0 <= error < 1:
        raise UserError(f"table error is {error}; it must be a share of the images, 0 <= error < 1")
    return Table(plan, images, error, ruled_out(plan.thresholds, plan.looks, plan.alpha, rule))


def _at_most(count: Whole, draws: Whole, p: Floats) -> Floats:
    """P(at most so many of the draws), averaged over the probabilities p: (looks,)."""
    within = np.clip(count, 0, draws)[:, None]
    chance = special.bdtr(within, draws[:, None], p)
    return np.asarray(np.where(count[:, None] < 0, 0.0, chance).mean(1))
