"""Where draws change a table of certified accuracy most: which images go on, and how far, round by round.

A cell of the table is the share of images that certify a threshold. It is known up to the images that are undecided
there: neither certified nor ruled out. A round looks at the counts of all images, and at nothing else, and sends on
those whose draws are expected to decide most of what is still too uncertain.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ._counts import Floats
from .adaptive import Plan
from .prospects import prospects
from .ruled_out import ruled_out

Whole = NDArray[np.int64]
SHARE = 0.05  # of the best gain, from which an image goes on in the same round: fewer rounds, for few draws more
HOPE = 0.1  # expected decisions up to the last look, from which an image goes on at all


class Standing(NamedTuple):
    """Of one image: its last look (-1: none yet), the misses there, and that it certifies the first `certified`
    thresholds and reaches none from the first `possible` on.
    """

    look: int
    misses: int
    certified: int
    possible: int


class Offer(NamedTuple):
    """What images of one standing gain by going on: decisions for a draw, at best, and the look where that is."""

    gain: float
    look: int
    decided: Floats  # (thresholds,): chance of each being decided there


@dataclass(frozen=True, eq=False)
class Table:
    """Cells that are wanted to within `error`, a share of all `images`. A threshold that an image does reach is ruled
    out with probability `plan.alpha` at most.
    """

    plan: Plan
    images: int
    error: float
    ruled_out: Whole  # (thresholds, looks): the least misses

    def begin(self) -> Standing:
        """Where an image stands before its first look."""
        return Standing(-1, 0, 0, len(self.plan.thresholds))

    def after(self, one: Standing, misses: Sequence[int]) -> Standing:
        """Where an image stands after its next looks, with so many misses at each."""
        look, last, certified, possible = one
        for last in misses:
            look += 1
            certified = self.plan.level(look, last, certified)
            possible = min(possible, int((last < self.ruled_out[:, look]).sum()))
        # What is certified is claimed, even if it is ruled out later: one of the two is wrong, as rarely as stated.
        return Standing(look, last, certified, max(certified, possible))

    def undecided(self, standings: Sequence[Standing]) -> Whole:
        """How many images are undecided at each threshold."""
        found = np.zeros(len(self.plan.thresholds), dtype=np.int64)
        for one in standings:
            found[one.certified : one.possible] += 1
        return found

    def next_looks(self, standings: Sequence[Standing]) -> list[int]:
        """The look that each image is to go to, its present one where it waits; all wait when the table is known well
        enough, or when no image is likely enough to be decided by the draws that are left.

        An image's gain at a later look is the expected number of thresholds decided there, of those whose cells are not
        yet known to within `error`, for its draws. It goes where its gain is largest. The best go first: those with at
        least a twentieth of the largest gain, as many of them as are expected to be enough.
        """
        missing = self.undecided(standings) - self.error * self.images
        times = Counter(standings)
        offers = self._offers(list(times), missing > 0)
        best = sorted(offers, key=lambda one: (-offers[one].gain, one))
        goes: dict[Standing, int] = {}
        for one in best:
            offer = offers[one]
            if offer.gain < SHARE * offers[best[0]].gain:
                break
            if offer.decided[missing > 0].any():
                goes[one] = offer.look
                missing = missing - times[one] * offer.decided
        return [goes.get(one, one.look) for one in standings]

    def _offers(self, standings: Sequence[Standing], wanted: NDArray[np.bool_]) -> dict[Standing, Offer]:
        """Of all that have one."""
        made: dict[Standing, Offer] = {}
        for look in {one.look for one in standings if one.look < len(self.plan.looks) - 1}:
            here = [one for one in standings if one.look == look and wanted[one.certified : one.possible].any()]
            if look < 0:  # nothing is known: everybody takes a first look
                made |= {one: Offer(np.inf, 0, wanted.astype(float)) for one in here}
            elif here:
                made |= self._later(look, here, wanted)
        return made

    def _later(self, look: int, standings: Sequence[Standing], wanted: NDArray[np.bool_]) -> dict[Standing, Offer]:
        draws, misses = np.array(self.plan.looks), np.array([one.misses for one in standings])
        open_ = np.zeros((len(standings), len(wanted)), dtype=bool)
        for row, one in enumerate(standings):
            open_[row, one.certified : one.possible] = wanted[one.certified : one.possible]
        image, threshold = np.nonzero(open_)
        chances = np.zeros((*open_.shape, len(draws) - 1 - look))
        limits = self.plan.certifies[threshold], self.ruled_out[threshold]
        chances[image, threshold] = prospects(look, misses[image], draws, *limits)
        decided = chances.sum(1)
        gains = decided / (draws[look + 1 :] - draws[look])
        place = gains.argmax(1)
        return {
            one: Offer(float(gains[row, place[row]]), look + 1 + int(place[row]), chances[row, :, place[row]])
            for row, one in enumerate(standings)
            if decided[row, -1] >= HOPE
        }


def table(plan: Plan, images: int, error: float, rule: str) -> Table:
    """A table of `images` images with the radii of `plan`, whose limits are those of `rule`.

    error: in [0, 1), the share of images that may stay undecided in a cell. Raises UserError.
    """
    if not 0 <= error < 1:
        raise UserError(f"table error is {error}; it must be a share of the images, 0 <= error < 1")
    return Table(plan, images, error, ruled_out(plan.thresholds, plan.looks, plan.alpha, rule))
