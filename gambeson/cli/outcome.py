"""What a certification found, in a line for each certificate."""

from collections.abc import Sequence
from typing import Any

import typer


def tell_certified(records: Sequence[dict[str, Any]], title: str, at: Sequence[float]) -> None:
    """Certified accuracy at the radii `at`; of a table that was certified for an error, each cell as a range: from what
    is certified to what is certified or undecided.
    """
    total, of_a_table = len(records), records[0].get("undecided") is not None
    for place, (name, _) in enumerate(one_sided(records[0]["radii"])):
        radii = [r["radii"][name] if r["correct"] else -1.0 for r in records]
        cells = []
        for least in at:
            count = sum(radius >= least for radius in radii)
            cells.append(f"{least:g}: {count / total:.3f}")
            if of_a_table and place == 0:  # the tight certificate's radii are what is decided
                cells[-1] += f" to {(count + sum(least in r['undecided'] for r in records)) / total:.3f}"
        typer.echo(f"{title} {name}, certified accuracy at radius  {'  '.join(cells)}")
    if of_a_table:
        from gambeson.reports.shares import Share

        lower, upper = Share(total // 2, total).interval
        typer.echo(
            f"{title}: the ranges are about these {total} images; the 95 % interval for others like them reaches up "
            f"to {(upper - lower) / 2:.3f} further to each side"
        )


def one_sided(radii: dict[str, float]) -> list[tuple[str, float]]:
    return [(name, radius) for name, radius in radii.items() if not name.endswith("_two_sided")]
