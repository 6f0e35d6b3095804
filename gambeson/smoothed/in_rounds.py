"""Which radii of a grid an image certifies, as far as a table needs to know it: `gambeson.stats.table`.

As `grid`, but how far an image goes is decided from outside, round by round, from the counts of all images. What it
certifies is read from the same bound, valid at any stopping time.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from gambeson.sampling import Counts
from gambeson.smoothed.grid import WRONG, of_level
from gambeson.smoothed.procedure import Ask, Procedure
from gambeson.stats import Standing, Table

if TYPE_CHECKING:
    from gambeson.smoothed.hard import Smoothed


def in_rounds(
    smoothed: "Smoothed",
    pixels: Tensor,
    *,
    select_draws: int,
    table: Table,
    radii: Sequence[float],
    label: int,
    until: int,
) -> Procedure:
    """Certify one image (C, H, W) in [0, 1] up to the look `until`; returns a certified record's fields.

    With probability at least 1 - alpha, the smoothed classifier gives `selected` to every image within every radius
    that is claimed; `undecided` are the radii of the grid that are neither claimed nor ruled out, and one that is ruled
    out could be claimed by any number of draws with probability alpha at most. An image whose selected class is not
    `label` changes no cell of a table of certified accuracy: it gets no draws.
    """
    select = yield Ask("select", 0, select_draws)
    selected = int(select.classes.argmax())
    found, looks = Counts(np.zeros_like(select.classes), 0), []
    if selected == label:
        for draws in table.plan.looks[: until + 1]:
            found += yield Ask("estimate", found.draws, draws - found.draws)
            looks.append([draws, int(found.classes[selected])])
    at = standing(table, looks, selected == label)
    fields = of_level(smoothed, pixels, table.plan, select, selected, found, at.certified)
    fields |= {"looks": looks, "undecided": list(radii[at.certified : at.possible])}
    if selected != label:
        return fields | {"stopped": "wrong", "reason": WRONG}
    return fields | {"stopped": _why(table, at)}


def standing(table: Table, looks: Sequence[Sequence[int]], right: bool) -> Standing:
    """Where an image stands after its recorded looks (draws, hits); one whose class is wrong has nothing to decide."""
    if not right:
        return Standing(len(table.plan.looks) - 1, 0, 0, 0)
    return table.after(table.begin(), [draws - hits for draws, hits in looks])


def _why(table: Table, at: Standing) -> str:
    if at.certified == len(table.plan.thresholds):
        return "all radii certified"
    if at.certified == at.possible:
        return "all radii decided"
    return "no draws left" if at.look == len(table.plan.looks) - 1 else "not worth more draws"
