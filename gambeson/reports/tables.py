"""Tables: what a column means is part of the table, and the page and all files print the same cells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gambeson.reports.numbers import down, near, short, up
from gambeson.reports.shares import Share

Kind = Literal[
    "text", "count", "setting", "share", "accuracy", "radius", "lower", "signed", "seconds", "probability", "measured"
]
UNKNOWN = "–"


@dataclass(frozen=True)
class Column:
    """A header that names metric, norm and unit; `best` marks the largest (or smallest) value in bold.

    A "share" is printed with its interval, an "accuracy" without, to be narrow; the CSV holds the interval of both.
    """

    header: str
    kind: Kind = "text"
    best: Literal["max", "min"] | None = None


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; a cell is text, a number, a `Share`, or None where nothing is known."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]] = field(repr=False)
    groups: Sequence[int | None] | None = None  # only rows of one number are compared for the best, None with none

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells for {len(self.columns)} columns: {row}")
        if self.groups is not None and len(self.groups) != len(self.rows):
            raise ValueError(f"{len(self.groups)} groups for {len(self.rows)} rows")


def printed(table: Table) -> list[list[str]]:
    """Every cell as text, as the page, Markdown and LaTeX show it."""
    return [[_cell(cell, column.kind) for cell, column in zip(row, table.columns, strict=True)] for row in table.rows]


def best(table: Table) -> list[list[bool]]:
    """Which cells hold their column's best value among the rows of their group (without groups: of all rows); none
    where only one row has one, or where all are equal."""
    marks = [[False] * len(table.columns) for _ in table.rows]
    groups = table.groups or [0] * len(table.rows)
    compared = [[r for r, other in enumerate(groups) if other == group] for group in set(groups) - {None}]
    for place, column in enumerate(table.columns):
        for rows in compared if column.best else ():
            values = {row: plain(table.rows[row][place]) for row in rows}
            known = [value for value in values.values() if isinstance(value, int | float)]
            if len(set(known)) > 1:
                goal = max(known) if column.best == "max" else min(known)
                for row, value in values.items():
                    marks[row][place] = value == goal
    return marks


def _cell(cell: Any, kind: Kind) -> str:
    if cell is None:
        return UNKNOWN
    if isinstance(cell, Share):
        value = near(cell.value, 3 if 1000 % cell.total == 0 else 4)
        if kind == "accuracy":
            return value
        lower, upper = cell.interval
        return f"{value} [{down(lower)}, {up(upper)}]"
    forms: dict[Kind, Callable[[Any], str]] = {
        "text": str,
        "count": lambda value: f"{value:,}",
        "setting": short,
        "share": str,
        "accuracy": near,
        "radius": down,
        "lower": down,
        "signed": lambda value: f"{'+' if value > 0 else ''}{near(value)}",
        "seconds": lambda value: near(value, 1) if value < 1000 else f"{value:,.0f}",
        "measured": lambda value: f"{value:.3g}",
        "probability": lambda value: "< 0.0001" if value < 1e-4 else near(value, 4),
    }
    return forms[kind](cell)


def plain(cell: Any) -> Any:
    """The number of a cell, as the CSV holds it."""
    return cell.value if isinstance(cell, Share) else cell
