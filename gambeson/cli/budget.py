"""Which budget a certification gets: a grid of radii, decided with as few draws as that takes, or all draws always."""

from collections.abc import Mapping, Sequence
from typing import Any

from gambeson.errors import UserError

DRAWS: dict[str, Any] = {"draws": 100_000, "select_draws": 100, "alpha": 0.001}


def choose_draws(noises: Sequence[str], asked: Mapping[str, Any], budget: Mapping[str, Any]) -> dict[str, Any]:
    """`asked` (draws, select_draws, alpha), with the customary numbers for None.

    Where every noisy copy is counted, nothing is drawn: whatever was given of `asked` or of the `budget` would change
    nothing, and is refused.
    """
    from gambeson.noise import parse

    given = ["--" + name.replace("_", "-") for name, value in {**asked, **budget}.items() if value is not None]
    if given and all(parse(noise).kind == "splitting" for noise in noises):
        raise UserError(
            f"every noisy copy of {', '.join(noises)} is counted, and its radii are exact: leave {', '.join(given)} out"
        )
    return DRAWS | {name: value for name, value in asked.items() if value is not None}


def choose_budget(
    dataset: str,
    smoothing: str,
    budget: str | None,
    radii: str | None,
    price: float | None,
    rule: str | None,
    stop_wrong: bool,
    table_error: float | None,
) -> dict[str, Any]:
    """What `gambeson.certified` is told; a grid by default where there is one. Refuses what contradicts itself."""
    from gambeson.certificates.customary import PUBLISHED
    from gambeson.cli.target import numbers

    if budget not in (None, "grid", "fixed"):
        raise UserError(f"--budget is {budget!r}; it must be grid or fixed")
    own = {"--radii": radii, "--price": price, "--rule": rule, "--stop-wrong": stop_wrong or None}
    own |= {"--table-error": table_error}
    given = [name for name, value in own.items() if value is not None]
    if budget == "fixed":
        if given:
            raise UserError(f"{given[0]} goes with a grid of radii, not with --budget fixed: leave one of them out")
        return {}
    if smoothing == "soft" and not budget and not given:
        return {}
    if radii is None and dataset not in PUBLISHED:
        if budget or given:
            raise UserError(f"{dataset} has no customary radii ({', '.join(PUBLISHED)} have): give --radii 0,0.25,0.5")
        return {}
    if table_error is not None and (price is not None or stop_wrong):
        raise UserError(
            "--table-error decides by itself where draws go, and gives none to images whose class is wrong: leave "
            "--price and --stop-wrong out"
        )
    grid = {"radii": "customary" if radii is None else numbers(radii, "--radii"), "stop_wrong": stop_wrong}
    more = {"price": price, "rule": rule, "table_error": table_error}
    return grid | {name: value for name, value in more.items() if value is not None}
