"""The plan that decides a grid of radii, the same for what is recorded and for what is served."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gambeson.errors import UserError
from gambeson.smoothed.grid import thresholds
from gambeson.stats import Plan, plan
from gambeson.stats import looks as schedule

if TYPE_CHECKING:
    from gambeson.smoothed.hard import Smoothed


def grid_plan(
    smoothed: "Smoothed", values: int, radii: Sequence[float], *, draws: int, alpha: float, price: float | None,
    rule: str | None = None,
) -> Plan:  # fmt: skip
    """When to look and what to certify, for images of `values` values.

    radii: increasing, in [0, 1] pixel units. draws: at most; alpha, price: as `gambeson.stats.plan`. rule: None for
    `rule_for`. Where an image's logits depend on its row, every look must fill the rows of a call. Raises UserError for
    a radius that no draws can certify: a table would say 0 for want of draws.
    """
    least, batch, looks = thresholds(smoothed, radii, values), smoothed.base.form.batch, None
    rule = rule or rule_for(smoothed)
    if smoothed.base.positions == "mixture":
        smoothed.fills_rows(draws, alpha)
        if rule != "beta_mixture":
            raise UserError(
                f"the rule {rule} is about draws that are all alike, and the logits depend on the row of a call in the "
                f"form {smoothed.base.form}: give rule beta_mixture, or certify in another form"
            )
        looks = schedule(draws, batch, step=batch)
    made = plan(least, alpha=alpha, cap=draws, price=price, rule=rule, looks=looks)
    for radius, limits in zip(radii, made.certifies, strict=True):
        if limits.max() < 0:
            raise UserError(
                f"radius {radius:g} is out of reach of {made.looks[-1]} draws at alpha {made.alpha:g}, even if all "
                "agree: leave it out, or give more draws"
            )
    return made


def rule_for(smoothed: "Smoothed") -> str:
    """The sharper rule, or the one that holds where an image's logits depend on its row: draws are then not alike."""
    return "beta_mixture" if smoothed.base.positions == "mixture" else "group_sequential"
