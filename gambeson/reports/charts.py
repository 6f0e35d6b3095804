"""A chart as data: what is drawn is also what the legend, the caption and the alternative text say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gambeson.reports.series import Array
from gambeson.reports.subsets import images_name


@dataclass(frozen=True, eq=False)
class Line:
    """One plotted series: `steps` holds each y up to and including its x; `points` joins measured points, and
    `markers` leaves them apart, for what was measured at these x only."""

    name: str
    x: Array
    y: Array
    shape: Literal["steps", "points", "markers", "smooth"]
    colour: int = 0
    dash: int = 0


@dataclass(frozen=True)
class Mark:
    """A vertical line at `x`, such as the largest radius that the number of draws allows."""

    name: str
    x: float
    colour: int | None = None


@dataclass(frozen=True, eq=False)
class Chart:
    """Lines over one x and one y quantity, each in one unit."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    marks: Sequence[Mark] = ()
    y_limits: tuple[float, float] | None = (0.0, 1.0)
    x_ticks: Sequence[tuple[float, str]] | None = None


@dataclass(frozen=True, eq=False)
class Gallery:
    """Strips of tiles (N, height, width, 3) in [0, 1], each with its name; one caption for each of the N columns."""

    title: str
    strips: Sequence[tuple[str, Array]]
    captions: Sequence[str]


def caption(chart: Chart, note: str = "") -> str:
    """What is plotted, named from the plotted lines and marks alone."""
    kinds = {
        "Lines": [line.name for line in chart.lines if line.shape != "markers"],
        "Points": [line.name for line in chart.lines if line.shape == "markers"],
        "Vertical lines": [mark.name for mark in chart.marks],
    }
    parts = [f"{chart.title}.", *(f"{kind}: {'; '.join(names)}." for kind, names in kinds.items() if names), note]
    return " ".join(part for part in parts if part)


def alternative(drawn: Chart | Gallery) -> str:
    """The drawing in words, for those who do not see it: each line's two ends, or each column's caption."""
    if isinstance(drawn, Gallery):
        columns = "; ".join(text.replace("\n", ", ") for text in drawn.captions)
        rows = ", ".join(name for name, _ in drawn.strips)
        return f"{images_name(len(drawn.captions))}, in rows: {rows}. Columns: {columns}. The table holds the numbers."
    ends = "; ".join(
        f"{line.name} from {line.y[0]:.3g} at {line.x[0]:.3g} to {line.y[-1]:.3g} at {line.x[-1]:.3g}"
        for line in drawn.lines
    )
    return f"Line chart of {drawn.y_label} against {drawn.x_label}: {ends}. The table holds the numbers."
