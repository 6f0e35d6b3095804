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
    total = len(records)
    undecided = [0 if error is None else sum(least in r["undecided"] for r in records) for least in at]
    for place, (name, _) in enumerate(one_sided(records[0]["radii"])):
        # An exact certificate holds at the image itself; others certify what their radius is larger than.
        radii = [r["radii"][name] if r["correct"] and claims(r, name) else -1.0 for r in records]
        cells = []
        for least, more in zip(at, undecided, strict=True):
            count = sum(radius >= least for radius in radii)
            cells.append(f"{least:g}: {count / total:.3f}")
            if error is not None and place == 0:  # the tight certificate's radii are what is decided
                cells[-1] = f"{least:g}: {floor(1000 * count / total) / 1000:.3f}"
                cells[-1] += f" to {ceil(1000 * (count + more) / total) / 1000:.3f}"
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


def claims(record: dict[str, Any], name: str) -> bool:
    """Whether the certificate `name` says anything about an image: more than at radius 0, unless it is exact."""
    return record["radii"][name] > 0 or record.get("radius_kind") == "exact"


def one_sided(radii: dict[str, float]) -> list[tuple[str, float]]:
    return [(name, radius) for name, radius in radii.items() if not name.endswith("_two_sided")]
