"""How an image is certified, and what is said of it beforehand: one function per kind of budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

from torch import Tensor

from gambeson.bursts import BLOCK
from gambeson.certificates.customary import PUBLISHED, customary
from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.smoothed.budgets import soft_budget
from gambeson.smoothed.exact import exact, largest_exact_radii
from gambeson.smoothed.fixed import fixed
from gambeson.smoothed.grid import grid, thresholds
from gambeson.smoothed.grid_plan import grid_plan
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.in_rounds import in_rounds
from gambeson.smoothed.procedure import Procedure
from gambeson.smoothed.soft_fixed import largest_soft_radii, soft_fixed
from gambeson.stats import Plan, Table, attainable, score_bins, table

COMPANY = 32
Begin = Callable[[Tensor, int, int | None], Procedure]  # pixels, label, the look up to which it goes


@dataclass(frozen=True, eq=False)
class Road:
    """What every image goes through: `begin` is made of values only, so that it can be sent to other processes."""

    begin: Begin
    settings: dict[str, Any]  # budget, select_draws, draws, alpha, max_radius
    plan: Plan | None = None  # by which draws can be foretold
    table: Table | None = None


def company(batch: int) -> int:
    """How many images share calls of so many rows, at most, where there are many for each worker: enough that 100 draws
    of each fill two calls, one of which is drawn while the other is at the model.
    """
    return max(COMPANY, ceil(2 * batch / BLOCK))


def every_copy(smoothed: Smoothed) -> Road:
    settings = {"budget": "exact", "select_draws": 0, "draws": smoothed.noise.states, "alpha": 0.0}
    return Road(partial(_exact, smoothed), settings | {"max_radius": largest_exact_radii(smoothed)})


def full(smoothed: Smoothed, values: int, same: dict[str, Any]) -> Road:
    """`same`: draws, select_draws, alpha of every image."""
    largest = smoothed.largest_radii(same["draws"], same["alpha"], values)
    settings = {"budget": "fixed", **same, "max_radius": largest}
    return Road(partial(_fixed, smoothed, same), settings)


def soft(smoothed: Smoothed, values: int, same: dict[str, Any]) -> Road:
    soft_budget(same["draws"], same["alpha"])
    bins = {"octaves": score_bins.OCTAVES, "steps": score_bins.STEPS}
    largest = largest_soft_radii(smoothed, same["draws"], same["alpha"], values)
    settings = {"budget": "fixed", **same, "max_radius": largest, "smoothing": "soft", "score_bins": bins}
    return Road(partial(_soft, smoothed, same), settings)


def of_a_grid(
    smoothed: Smoothed, values: int, same: dict[str, Any], radii: Sequence[float], *, price: float, rule: str,
    stop_wrong: bool,
) -> Road:  # fmt: skip
    """`same`: draws (at most), select_draws, alpha of every image."""
    made = grid_plan(smoothed, values, radii, draws=same["draws"], alpha=same["alpha"], price=price, rule=rule)
    settings = _of_plan(smoothed, values, same, radii, made, {"rule": rule, "price": price, "stop_wrong": stop_wrong})
    return Road(partial(_grid, smoothed, same["select_draws"], made, stop_wrong), settings, made)


def of_a_table(
    smoothed: Smoothed, values: int, same: dict[str, Any], radii: Sequence[float], *, images: int, error: float,
    rule: str,
) -> Road:  # fmt: skip
    """`same`: as `of_a_grid`. error: the share of the images that may stay undecided in a cell."""
    plan = grid_plan(smoothed, values, radii, draws=same["draws"], alpha=same["alpha"], price=None, rule=rule)
    made = table(plan, images, error, rule)
    budget = {"rule": rule, "price": None, "stop_wrong": True, "table_error": error}
    settings = _of_plan(smoothed, values, same, radii, made.plan, budget)
    begin = partial(_in_rounds, smoothed, same["select_draws"], made, tuple(settings["budget"]["radii"]))
    return Road(begin, settings, table=made)


def _of_plan(
    smoothed: Smoothed, values: int, same: dict[str, Any], radii: Sequence[float], made: Plan, more: dict[str, Any]
) -> dict[str, Any]:
    budget = {"radii": [float(radius) for radius in radii], "looks": list(made.looks), **more}
    largest = smoothed.one_sided_radii(smoothed.less_tau(made.thresholds[-1], values))
    return {"budget": budget, **same, "max_radius": largest}


def customary_radii(smoothed: Smoothed, data: Dataset, same: dict[str, Any], rule: str) -> list[float]:
    """The data set's customary radii, as far as unanimous draws certify them."""
    if data.name not in PUBLISHED:
        raise UserError(f"{data.name} has no customary radii ({', '.join(PUBLISHED)} have): give radii")
    tight, values, alpha, draws = (
        smoothed.certificates()[0],
        data.images.shape[1:].numel(),
        same["alpha"],
        same["draws"],
    )
    largest = smoothed.largest_radii(draws, alpha, values)[tight.name]
    near = [radius for radius in customary(data.name, tight.norm, largest) if radius <= largest]
    least = thresholds(smoothed, near, values)
    found = [r for r, p in zip(near, least, strict=True) if attainable(p, alpha=alpha, cap=draws, rule=rule)]
    if not found:
        raise UserError(f"draws is {draws} at alpha {alpha:g}: even if all agreed, {rule} would certify no radius")
    return found


def _exact(smoothed: Smoothed, pixels: Tensor, label: int, until: int | None) -> Procedure:
    return exact(smoothed, pixels)


def _fixed(smoothed: Smoothed, same: dict[str, Any], pixels: Tensor, label: int, until: int | None) -> Procedure:
    return fixed(smoothed, pixels, **same)


def _soft(smoothed: Smoothed, same: dict[str, Any], pixels: Tensor, label: int, until: int | None) -> Procedure:
    return soft_fixed(smoothed, pixels, **same)


def _grid(
    smoothed: Smoothed, select_draws: int, made: Plan, stop_wrong: bool, pixels: Tensor, label: int, until: int | None
) -> Procedure:
    return grid(smoothed, pixels, select_draws=select_draws, plan=made, label=label if stop_wrong else None)


def _in_rounds(
    smoothed: Smoothed, select_draws: int, made: Table, radii: tuple[float, ...], pixels: Tensor, label: int,
    until: int | None,
) -> Procedure:  # fmt: skip
    last = len(made.plan.looks) - 1 if until is None else until
    return in_rounds(smoothed, pixels, select_draws=select_draws, table=made, radii=radii, label=label, until=last)
