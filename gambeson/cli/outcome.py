"""What a certification found, in a line for each certificate."""

from collections.abc import Sequence
from math import ceil, floor
from typing import Any

import typer


def tell_certified(
    records: Sequence[dict[str, Any]], title: str, at: Sequence[float], error: float | None = None
) -> None:
    """Certified accuracy at the radii `at`; of a table that was certified for an `error`, each cell as a range: from
    what is certified to what is certified or undecided. Says how many cells stayed wider.
    """
    from gambeson.reports.runs import answer

    total = len(records)
    undecided = [0 if error is None else sum(least in r["undecided"] for r in records) for least in at]
    for place, (name, _) in enumerate(one_sided(records[0]["radii"])):
        radii = [r["radii"][name] if answer(r, name) == r["label"] else -1.0 for r in records]
        cells = []
        for least, more in zip(at, undecided, strict=True):
            count = sum(radius >= least for radius in radii)
            share = f"{count / total:.3f}"
            if error is not None and place == 0:  # the tight certificate's radii are what is decided
                lower, upper = floor(1000 * count / total) / 1000, ceil(1000 * (count + more) / total) / 1000
                share = f"{lower:.3f} to {upper:.3f}"
            cells.append(f"{least:g}: {share}")
        typer.echo(f"{title} {name}, certified accuracy at radius  {'  '.join(cells)}")
    if error is None:
        return
    if wide := [more / total for more in undecided if more > error * total]:
        typer.echo(
            f"{title}: {len(wide)} of {len(at)} cells are wider than {error:g}, up to {max(wide):.3f}: images that are "
            "undecided there have no draws left, or too few to decide much; more --draws would narrow them"
        )
    from gambeson.reports.shares import Share

    lower, upper = Share(total // 2, total).interval
    typer.echo(
        f"{title}: the ranges are about these {total} images; the 95 % interval for others like them reaches up to "
        f"{(upper - lower) / 2:.3f} further to each side"
    )


def one_sided(radii: dict[str, float]) -> list[tuple[str, float]]:
    return [(name, radius) for name, radius in radii.items() if not name.endswith("_two_sided")]
