"""Matplotlib's part: a chart or a gallery becomes a figure, and that SVG, PNG and PDF, the same every time."""

import io
import textwrap
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from gambeson.reports.charts import Chart, Gallery, Line
from gambeson.reports.palette import DASHES, GRID, INK, MARKERS, SERIES

WIDTH = 4.8  # inches: at this size the page on a phone shows the letters at about 10 pixels
WRAP = 48  # characters of a legend entry before it is broken
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud, and scaled
    "svg.hashsalt": "gambeson",
    "pdf.fonttype": 3,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "white",
    "axes.facecolor": "none",
}
NO_DATES: dict[str, dict[str, str | None]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
}


def draw_chart(chart: Chart) -> Figure:
    """The chart with its legend below, so that no line is covered."""
    names = [line.name for line in chart.lines] + [mark.name for mark in chart.marks]
    columns = 2 if max(map(len, names)) <= 24 and len(names) > 1 else 1
    rows = -(-sum(1 + len(name) // WRAP for name in names) // columns)
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 3.1 + 0.2 * rows))
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for place, line in enumerate(chart.lines):
            _draw_line(axes, line, place)
        for place, mark in enumerate(chart.marks):
            colour = INK if mark.colour is None else SERIES[mark.colour % len(SERIES)]
            axes.axvline(
                mark.x, color=colour, linewidth=1.3, dashes=(1, 1.2 + place), label=_broken(mark.name), zorder=1
            )
        axes.set_xlabel(chart.x_label)
        axes.set_ylabel(chart.y_label)
        if chart.y_limits is not None:
            low, high = chart.y_limits
            axes.set_ylim(low, high + 0.02 * (high - low))
        if chart.x_ticks is not None:
            axes.set_xticks([x for x, _ in chart.x_ticks], [text for _, text in chart.x_ticks])
        axes.set_xlim(left=min(float(line.x[0]) for line in chart.lines))
        figure.legend(loc="outside lower left", ncols=columns, frameon=False, fontsize=9, handlelength=3.2)
    return figure


def _broken(name: str) -> str:
    return "\n".join(textwrap.wrap(name, WRAP, break_on_hyphens=False))


def _draw_line(axes: Axes, line: Line, place: int) -> None:
    colour = SERIES[line.colour % len(SERIES)]
    style: dict[str, Any] = {"color": colour, "linewidth": 1.8, "label": _broken(line.name)}
    dashes = DASHES[line.dash % len(DASHES)]
    if dashes:
        style["dashes"] = dashes
    if line.shape == "steps":
        axes.step(line.x, line.y, where="pre", **style)
    elif line.shape == "points":
        axes.plot(line.x, line.y, marker=MARKERS[place % len(MARKERS)], markersize=4.5, clip_on=False, **style)
    elif line.shape == "markers":
        marker = MARKERS[place % len(MARKERS)]
        axes.plot(line.x, line.y, marker, color=colour, markersize=6, zorder=3, clip_on=False, label=style["label"])
    else:
        axes.plot(line.x, line.y, **style)


def draw_gallery(gallery: Gallery) -> Figure:
    """Each strip one row of equal tiles under its name; under the last row, one caption for each column."""
    count = len(gallery.captions)
    with matplotlib.rc_context({**SETTINGS, "axes.grid": False}):
        figure = Figure(figsize=(WIDTH, len(gallery.strips) * (WIDTH / count + 0.24) + 0.5))
        FigureCanvasAgg(figure)
        rows = figure.subplots(len(gallery.strips), 1, squeeze=False)[:, 0]
        for axes, (name, tiles) in zip(rows, gallery.strips, strict=True):
            width = tiles.shape[2]
            opaque = np.concatenate([np.clip(tiles, 0, 1), np.ones((*tiles.shape[:-1], 1))], axis=-1)
            padded = np.pad(opaque, ((0, 0), (0, 0), (0, 1), (0, 0)))  # transparent between the tiles
            axes.imshow(np.concatenate(list(padded), axis=1)[:, :-1], interpolation="nearest", aspect="equal")
            axes.set_title(name, loc="left", fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        centres = [place * (width + 1) + (width - 1) / 2 for place in range(count)]
        rows[-1].set_xticks(centres, gallery.captions, fontsize=8)
        rows[-1].tick_params(length=0)
    return figure


def save(figure: Figure, stem: str, folder: Path) -> str:
    """Write folder/stem.svg, .png and .pdf; returns the SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(SETTINGS):
        ConstrainedLayoutEngine().execute(figure)  # laid out once, the same in all three
        for form, metadata in NO_DATES.items():
            drawn = io.BytesIO()
            figure.savefig(drawn, format=form, dpi=160, metadata=metadata)
            (folder / f"{stem}.{form}").write_bytes(drawn.getvalue())
    return (folder / f"{stem}.svg").read_text()
