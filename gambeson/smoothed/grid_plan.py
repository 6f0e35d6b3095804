"""The plan that decides a grid of radii, the same for what is recorded and for what is served."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gambeson.errors import UserError
from gambeson.smoothed.grid import around, thresholds
from gambeson.stats import Plan, attainable, plan
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
    for radius, p in zip(radii, least, strict=True):  # a plan takes seconds
        if not attainable(p, alpha=alpha, cap=draws, rule=rule):
            raise _out_of_reach(smoothed, radius, draws, alpha)
    made = plan(least, alpha=alpha, cap=draws, price=price, rule=rule, looks=looks)
    for radius, limits in zip(radii, made.certifies, strict=True):
        if limits.max() < 0:
            raise _out_of_reach(smoothed, radius, made.looks[-1], made.alpha)
    return made


def plan_around(
    smoothed: "Smoothed", off: float, values: int, radii: Sequence[float], *, draws: int, alpha: float,
    price: float | None, rule: str | None = None,
) -> Plan:  # fmt: skip
    """The plan for an image that lies `off` off the lattice. It goes without the radii that such an image cannot reach;
    where that is all of them, it goes by the lattice's. Refused is what no image on the lattice could reach.
    """
    asked: dict[str, Any] = {"draws": draws, "alpha": alpha, "price": price, "rule": rule}
    whole = grid_plan(smoothed, values, radii, **asked)
    for most in range(len(radii) if off else 0, 0, -1):
        with suppress(UserError):
            return grid_plan(replace(smoothed, off=off), values, radii[:most], **asked)
    return whole


def _out_of_reach(smoothed: "Smoothed", radius: float, draws: int, alpha: float) -> UserError:
    return UserError(
        f"radius {radius:g} is out of reach of {draws} draws at alpha {alpha:g}, even if all agree{around(smoothed)}: "
        "leave it out, or give more draws"
    )


def rule_for(smoothed: "Smoothed") -> str:
    """The sharper rule, or the one that holds where an image's logits depend on its row: draws are then not alike."""
    return "beta_mixture" if smoothed.base.positions == "mixture" else "group_sequential"
