"""How many votes may change before the winner does: what certifies where every vote is counted."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UserError


class Winner(NamedTuple):
    label: int
    margin: int


def vote_margin(counts: ArrayLike) -> Winner:
    """The class with the most votes, the first of several, and how many voters may change their mind.

        margin = min over other classes j of floor( (n_winner - n_j - [j < winner]) / 2 )

    Whatever `margin` voters do, the winner stays the winner, ties going to the first class; some `margin` + 1 voters
    can make it lose, or there are no more voters of the winner. Whole numbers only, hence exact.

    Args:
        counts: votes of each class, whole numbers >= 0, at least two classes.

    Returns: Winner(label, margin >= 0). Raises: UserError.

    >>> vote_margin([3, 10, 0])
    Winner(label=1, margin=3)

    Paper: Levine & Feizi 2021, whose formula takes the runner-up alone: it is the minimum.
    """
    votes = np.asarray(counts)
    if votes.ndim != 1 or len(votes) < 2 or not np.issubdtype(votes.dtype, np.integer) or votes.min() < 0:
        raise UserError(f"counts = {counts!r}; allowed: whole numbers >= 0, one for each of at least two classes")
    label = int(votes.argmax())
    before = np.arange(len(votes)) < label
    lead = np.delete(votes[label] - votes - before, label)
    return Winner(label, int(lead.min()) // 2)
