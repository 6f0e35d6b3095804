"""A sweep's tables and its figure: every run, every point over its seeds, natural against robust."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np

from gambeson.grid import RULE, Outcome, Point, share
from gambeson.reports.charts import Chart, Line, caption
from gambeson.reports.exhibits import Exhibit
from gambeson.reports.report import write
from gambeson.reports.shares import Share
from gambeson.reports.tables import Column, Table


def sweep(outcomes: Sequence[Outcome], best: Point, attack: str, out: Path) -> str:
    """Write tables/sweep.*, tables/sweep-runs.* and figures/sweep.* (with tables/sweep.*) under `out`; the table of the
    points in Markdown.
    """
    write(_points(outcomes, best, attack), out)
    write(_runs(outcomes, attack), out)
    return (out / "tables" / "sweep.md").read_text()


def _points(outcomes: Sequence[Outcome], best: Point, attack: str) -> Exhibit:
    grid = list(dict.fromkeys(one.point for one in outcomes))
    robust = f"accuracy under {attack}"
    columns = [
        *_keys(grid),
        Column("seeds", "count"),
        *(Column(f"natural accuracy, {part}", "accuracy") for part in ("validation", "test")),
        *(Column(f"{robust}, {part}", "accuracy") for part in ("validation", "test")),
        *(Column(f"smallest and largest {kind}, test") for kind in ("natural", "under attack")),
        Column("chosen"),
    ]
    rows = []
    for point in grid:
        mine = [one for one in outcomes if one.point == point]
        natural, attacked = ([share(getattr(one, f"{kind}_test")) for one in mine] for kind in ("natural", "robust"))
        means = [
            mean(share(getattr(one, f"{kind}_{part}")) for one in mine)
            for kind in ("natural", "robust")
            for part in ("validation", "test")
        ]
        spread = [f"{min(values):.3f} to {max(values):.3f}" for values in (natural, attacked)]
        rows.append([*_values(point), len(mine), *means, *spread, "chosen" if point == best else ""])
    chart = Chart(
        "Natural accuracy against accuracy under attack, test images",
        "natural accuracy",
        robust,
        [
            _line(point, [one for one in outcomes if one.point == point], place, point == best)
            for place, point in enumerate(grid)
        ],
        y_limits=None,
    )
    return Exhibit(
        "sweep", caption(chart, f"Means over seeds in the table. Chosen: {RULE}."), Table(columns, rows), chart
    )


def _line(point: Point, outcomes: Sequence[Outcome], place: int, best: bool) -> Line:
    """A point's runs, from left to right."""
    x, y = np.array(sorted((share(one.natural_test), share(one.robust_test)) for one in outcomes)).T
    return Line(_label(point) + (" (chosen)" if best else ""), x, y, "markers", colour=place)


def _runs(outcomes: Sequence[Outcome], attack: str) -> Exhibit:
    columns = [
        *_keys([one.point for one in outcomes]),
        Column("seed", "count"),
        *(Column(f"natural accuracy, {part}", "share") for part in ("validation", "test")),
        *(Column(f"accuracy under {attack}, {part}", "share") for part in ("validation", "test")),
        Column("training (s)", "seconds"),
    ]
    rows = [
        [
            *_values(one.point),
            one.seed,
            *(Share(*counted) for counted in (one.natural_validation, one.natural_test)),
            *(Share(*counted) for counted in (one.robust_validation, one.robust_test)),
            one.train_seconds,
        ]
        for one in outcomes
    ]
    return Exhibit("sweep-runs", "Every run of the sweep.", Table(columns, rows))


def _keys(grid: Sequence[Point]) -> list[Column]:
    return [Column(word.partition("=")[0]) for word in grid[0].settings]


def _values(point: Point) -> list[str]:
    return [word.partition("=")[2] for word in point.settings]


def _label(point: Point) -> str:
    words = [word.partition("=") for word in point.settings]
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, _, value in words) or "recipe"
