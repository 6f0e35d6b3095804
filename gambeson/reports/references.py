"""Published numbers with their source, their correction, and whether they are sound."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Reference:
    """One row of a published table; what it does not state is None."""

    method: str
    dataset: str
    norm: str
    radii: tuple[float, ...]
    accuracy: tuple[float, ...]
    source: str
    table: str
    verified: str  # where it was read: paper, code, log, review, board
    sound: str  # "yes" | "no" | "in doubt"
    correction: str | None = None
    ours: str | None = None  # the method of this package to compare with
    model: str | None = None
    noise: str | None = None
    certificate: str | None = None
    average_radius: float | None = None
    images: int | None = None
    draws: int | None = None
    alpha: float | None = None


@cache
def references() -> tuple[Reference, ...]:
    """All of references.toml, in its order.

    >>> [r.accuracy for r in references() if r.table == "Table 1"]
    [(0.69,), (0.656,)]
    """
    text = (files("gambeson.reports") / "references.toml").read_text()
    return tuple(
        Reference(**{**row, "radii": tuple(row["radii"]), "accuracy": tuple(row["accuracy"])})
        for row in tomllib.loads(text)["reference"]
    )
