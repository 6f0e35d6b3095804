"""From what a certification is asked for to what every image goes through; what cannot be had is refused.

Nothing here calls the model: what follows from noise, numbers of draws and radii is known before a form is chosen.
"""

from collections.abc import Sequence
from typing import Literal

from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.evaluation.procedures import Road, customary_radii, every_copy, full, of_a_grid, of_a_table, soft
from gambeson.smoothed.budgets import certify_budget, leave_out
from gambeson.smoothed.grid_plan import rule_for
from gambeson.smoothed.hard import Smoothed
from gambeson.stats import PRICE

Radii = Sequence[float] | Literal["customary"]


def road(
    smoothed: Smoothed,
    data: Dataset,
    *,
    smoothing: str = "hard",
    radii: Radii | None = None,
    draws: int,
    select_draws: int,
    alpha: float,
    price: float | None = None,
    rule: str | None = None,
    stop_wrong: bool = False,
    table_error: float | None = None,
) -> Road:
    """Arguments as `gambeson.certified`; raises UserError for what contradicts itself, or certifies nothing."""
    if smoothing not in ("hard", "soft"):
        raise UserError(f"smoothing is {smoothing!r}; it must be hard (votes) or soft (mean scores)")
    values, same = data.images.shape[1:].numel(), {"select_draws": select_draws, "draws": draws, "alpha": alpha}
    own = {"price": price is not None, "rule": rule is not None, "stop_wrong": stop_wrong}
    own |= {"table_error": table_error is not None}
    if smoothed.noise.states is not None:
        own |= {"radii": radii not in (None, "customary"), "soft smoothing": smoothing == "soft"}
        name = smoothed.noise.noise.name
        leave_out(own, f"every noisy copy of {name} is counted, and its radii are exact")
        return every_copy(smoothed)
    certify_budget(draws, select_draws, alpha)
    smoothed.fills_rows(draws, alpha)
    if smoothing == "soft":
        leave_out(own | {"radii": radii is not None}, "soft smoothing is certified with a fixed number of draws")
        return soft(smoothed, values, same)
    if radii is None:
        leave_out(own, "without radii every image gets the same number of draws")
        return full(smoothed, values, same)
    rule = rule or rule_for(smoothed)
    if isinstance(radii, str):
        if radii != "customary":
            raise UserError(f"radii is {radii!r}; give numbers, 'customary', or None for full precision")
        radii = customary_radii(smoothed, data, same, rule)
    if table_error is None:
        price = PRICE if price is None else price
        return of_a_grid(smoothed, values, same, radii, price=price, rule=rule, stop_wrong=stop_wrong)
    leave_out({"price": own["price"], "stop_wrong": stop_wrong}, "a table error decides by itself where draws go")
    return of_a_table(smoothed, values, same, radii, images=len(data), error=table_error, rule=rule)
