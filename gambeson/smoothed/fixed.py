"""CERTIFY with a fixed number of draws (Cohen, Rosenfeld, Kolter 2019): a radius in full precision."""

from typing import TYPE_CHECKING

from torch import Tensor

from gambeson.smoothed.claim import claim
from gambeson.smoothed.procedure import Ask, Procedure

if TYPE_CHECKING:
    from gambeson.smoothed.hard import Smoothed


def fixed(smoothed: "Smoothed", pixels: Tensor, *, select_draws: int, draws: int, alpha: float) -> Procedure:
    """Certify one image (C, H, W) in [0, 1]; returns a certified record's fields.

    With probability at least 1 - alpha over the draws, the smoothed classifier gives `selected` to every image
    within the radius; this holds for each certificate by itself. Radii hold against adversaries on the
    lattice, `radii_real` against real-valued ones.
    """
    select = yield Ask("select", 0, select_draws)
    estimate = yield Ask("estimate", 0, draws)
    selected = int(select.classes.argmax())
    bounds = smoothed.bounds(estimate.classes, selected, draws, alpha, pixels.numel())
    return claim(
        smoothed, pixels, selected, select, estimate, p_lower=bounds.one_sided, radii=smoothed.radii(bounds),
        reason="p_lower <= 1/2" if bounds.one_sided <= 0.5 else None, two_sided=(bounds.lower, bounds.upper),
    )  # fmt: skip
