"""Both budgets of the same runs: the table that a grid of radii gives with fewer draws, beside that of a fixed budget.

    python benchmarks/budgets.py results/mnist-lenet/mnist-* --out results/mnist-lenet

Reads records that are there; draws nothing. Certify the two with different seeds: with one seed the grid's draws are
the first of the fixed budget's, and the two tables are bound to agree. Every Gaussian noise of a run that was certified
with both budgets on the same images is a row: certified accuracy (`gaussian_l2`) at each radius of the grid, in pairs.
The interval is Tango's, of the difference on these images as a sample; it is given where the difference is largest.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from _written import markdown, origin
from numpy.typing import NDArray

from gambeson.records import Run
from gambeson.stats import paired

Line = dict[str, Any]
HEAD = (
    "run", "noise", "images", "draws an image", "times fewer", "largest difference of a cell", "at radius",
    "95 % interval", "cells with 0 outside of it",
)  # fmt: skip


def pairs(run: Run) -> list[tuple[Line, Line]]:
    """Evaluations of a noise with a fixed budget and with a grid, on the same images in the same form."""
    fixed: dict[str, Line] = {}
    grids: dict[str, Line] = {}
    for one in run.evaluations("certified"):
        settings = one["settings"]
        if not settings["noise"].startswith("gaussian") or settings.get("smoothing", "hard") != "hard":
            continue
        if settings["budget"] == "fixed":
            fixed[_same(one)] = one
        elif settings["budget"]["price"] is not None:  # not of a whole table
            grids[_same(one)] = one
    return [(fixed[same], grid) for same, grid in grids.items() if same in fixed]


def _same(evaluation: Line) -> str:
    settings = evaluation["settings"]
    return json.dumps([settings[name] for name in ("noise", "form", "alpha", "draws")] + [evaluation["data"]])


def certified(records: list[Line], radius: float) -> NDArray[np.bool_]:
    """Whether each image is right and certified at this radius; 0 stands for any above 0."""
    least = max(radius, np.nextafter(0, 1))
    return np.array([record["correct"] and record["radii"]["gaussian_l2"] >= least for record in records])


def row(run: Run, fixed: Line, grid: Line) -> Line:
    both = [{record["index"]: record for record in run.records(one["id"])} for one in (fixed, grid)]
    if both[0].keys() != both[1].keys():
        raise SystemExit(f"{run.path}: {fixed['id']} and {grid['id']} have different images; finish both first")
    full, few = ([records[index] for index in sorted(records)] for records in both)
    cells = {
        radius: paired(certified(few, radius), certified(full, radius))
        for radius in grid["settings"]["budget"]["radii"]
    }
    at, most = max(cells.items(), key=lambda cell: abs(cell[1].difference))
    draws = float(np.mean([record["draws"] for record in few]))
    return {
        "run": run.name,
        "noise": grid["settings"]["noise"],
        "images": len(few),
        "draws": draws,
        "fewer": fixed["settings"]["draws"] / draws,
        "radius": at,
        "difference": most.difference,
        "interval": [most.lower, most.upper],
        "outside": sum(not cell.lower <= 0 <= cell.upper for cell in cells.values()),
        "cells": {radius: [float(certified(one, radius).mean()) for one in (full, few)] for radius in cells},
    }


def table(rows: list[Line]) -> str:
    lines: list[tuple[Any, ...]] = [HEAD]
    for one in rows:
        low, high = one["interval"]
        numbers = (f"{one['draws']:,.0f}", f"{one['fewer']:.1f}", f"{one['difference']:+.3f}", f"{one['radius']:g}")
        lines.append(
            (one["run"], one["noise"], one["images"], *numbers, f"{low:+.3f} to {high:+.3f}",
             f"{one['outside']} of {len(one['cells'])}")
        )  # fmt: skip
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    runs = [Run.open(path) for path in chosen.runs]
    rows = [row(run, *found) for run in runs for found in pairs(run)]
    if not rows:
        raise SystemExit(f"none of {', '.join(map(str, chosen.runs))} was certified with both budgets")
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "budgets.json").write_text(json.dumps({**origin(), "rows": rows}, indent=1) + "\n")
    (chosen.out / "budgets.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
