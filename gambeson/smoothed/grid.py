"""Which radii of a grid an image certifies, with as few draws as that takes.

The class is picked on draws of its own, as in CERTIFY. Then the plan (`gambeson.stats.plan`) looks at the growing count
of hits: one lower bound on the class's probability, valid at any stopping time, from which all radii are read. With
probability at least 1 - alpha the smoothed classifier gives `selected` to every image within every radius that the
record claims, whatever the image was stopped for.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import inf, nextafter
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from gambeson.errors import UserError
from gambeson.sampling import Counts
from gambeson.smoothed.claim import claim
from gambeson.smoothed.procedure import Ask, Procedure
from gambeson.smoothed.rounding import less
from gambeson.stats import Plan

if TYPE_CHECKING:
    from gambeson.smoothed.hard import Smoothed

WRONG = "its class is wrong: not certified any further"


def grid(smoothed: "Smoothed", pixels: Tensor, *, select_draws: int, plan: Plan, label: int | None = None) -> Procedure:
    """Certify one image (C, H, W) in [0, 1] at the radii of `plan.thresholds`; returns a certified record's fields.

    label: where it is given and the selected class is another, the image is not certified any further ("wrong"): a
    choice for tables of certified accuracy, never for prediction.
    """
    select = yield Ask("select", 0, select_draws)
    selected = int(select.classes.argmax())
    found, looks, level, stopped = Counts(np.zeros_like(select.classes), 0), [], 0, "wrong"
    if label is None or selected == label:
        for look, draws in enumerate(plan.looks):
            found += yield Ask("estimate", found.draws, draws - found.draws)
            hits = int(found.classes[selected])
            looks.append([draws, hits])
            level = plan.level(look, draws - hits, level)
            if not plan.goes_on(look, draws - hits, level):
                stopped = _why(plan, look, level)
                break
    fields = of_level(smoothed, pixels, plan, select, selected, found, level) | {"looks": looks, "stopped": stopped}
    return fields | {"reason": WRONG} if stopped == "wrong" else fields


def thresholds(smoothed: "Smoothed", radii: Sequence[float], values: int) -> list[float]:
    """The least probability of the selected class from which each radius follows, by the tight certificate, tau added,
    for all images that lie `smoothed.off` off the lattice at most.

    radii: increasing, in [0, 1] pixel units, >= 0; 0 stands for any radius above 0. Raises UserError.
    """
    try:
        wanted = [float(radius) for radius in radii]
    except (TypeError, ValueError):
        raise UserError(f"radii are {radii!r}; give a list of numbers, such as [0, 0.25, 0.5]") from None
    if not wanted or wanted[0] < 0 or any(a >= b for a, b in pairwise(wanted)):
        raise UserError(f"radii are {wanted}; they must increase from 0 or more, at least one")
    return [_threshold(smoothed, radius, values) for radius in wanted]


def _threshold(smoothed: "Smoothed", radius: float, values: int) -> float:
    """Bisect over the floats: the radius grows with the probability, and is rounded down."""
    tight, noise = smoothed.certificates()[0], smoothed.noise.noise

    def reaches(p: float) -> bool:
        found = float(tight.radius(smoothed.less_tau(p, values), None, noise.scale))
        return less(found, smoothed.off) >= max(radius, nextafter(0, inf))

    low, high = 0.5, 1.0
    if not reaches(nextafter(high, 0)):
        raise UserError(
            f"radius {radius:g} cannot be certified with {noise.name} by any number of draws{around(smoothed)}: leave "
            "it out"
        )
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def around(smoothed: "Smoothed") -> str:
    """Around which images, as the end of a sentence; nothing where they are those of the lattice."""
    return f", around images that lie {smoothed.off:.4g} off the lattice" if smoothed.off else ""


def _why(plan: Plan, look: int, level: int) -> str:
    if level == len(plan.thresholds):
        return "all radii certified"
    return "no draws left" if look == len(plan.looks) - 1 else "not worth more draws"


def of_level(
    smoothed: "Smoothed", pixels: Tensor, plan: Plan, select: Counts, selected: int, found: Counts, level: int
) -> dict[str, Any]:
    """The fields of a record whose image certifies the first `level` thresholds."""
    p_lower = smoothed.less_tau(plan.thresholds[level - 1], pixels.numel()) if level else 0.0
    fields = claim(
        smoothed, pixels, selected, select, found, p_lower=p_lower, radii=smoothed.one_sided_radii(p_lower),
        reason=None if level else "no radius of the grid is certified",
    )  # fmt: skip
    return fields | {"draws": found.draws, "radius_kind": "grid"}
