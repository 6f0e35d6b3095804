"""The page: one HTML file that needs nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment
from markupsafe import Markup

import gambeson
from gambeson.reports.charts import alternative
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.inline import inline
from gambeson.reports.palette import DARK_GRID, DARK_INK, DARK_SERIES, GRID, INK, SERIES
from gambeson.reports.series import Images, Source
from gambeson.reports.subsets import images_name
from gambeson.reports.tables import best, printed

LONG = 14  # rows; a longer table is folded


@dataclass(frozen=True, eq=False)
class Shown:
    """An exhibit and, where it has a figure, the figure's SVG."""

    exhibit: Exhibit
    svg: str | None

    @property
    def drawing(self) -> Markup | None:
        """The SVG as part of the page, described for those who do not see it."""
        if self.svg is None or self.exhibit.drawn is None:
            return None
        return Markup(inline(self.svg, self.exhibit.stem, alternative(self.exhibit.drawn)))

    @property
    def rows(self) -> list[list[tuple[str, bool, bool]]]:
        """Cells as (text, best of its column, a number)."""
        table = self.exhibit.table
        numeric = [column.kind != "text" for column in table.columns]
        rows = zip(printed(table), best(table), strict=True)
        return [list(zip(cells, marks, numeric, strict=True)) for cells, marks in rows]

    @property
    def folded(self) -> bool:
        return len(self.exhibit.table.rows) > LONG and not self.exhibit.folded


def page(shown: Sequence[tuple[Section, Sequence[Shown]]], sources: Sequence[Source]) -> str:
    """The HTML text of the report."""
    here = files("gambeson.reports")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (here / "page.html.j2").read_text()
    )
    style = _variables() + (here / "style.css").read_text()
    names = ", ".join(source.name for source in sources)
    return template.render(
        sections=shown,
        style=Markup(style),
        title=f"Robustness of {names}" if len(names) < 90 else f"Robustness of {len(sources)} runs",
        names=names,
        unfinished=_unfinished(sources),
        logs=[source.name for source in sources if source.kind == "log"],
        version=gambeson.__version__,
    )


def _variables() -> str:
    """The colours of the drawings, light and dark."""

    def block(ink: str, grid: str, series: Sequence[str]) -> str:
        return f"--ink:{ink};--grid:{grid};" + "".join(f"--series-{i}:{colour};" for i, colour in enumerate(series))

    dark = block(DARK_INK, DARK_GRID, DARK_SERIES)
    return f":root{{{block(INK, GRID, SERIES)}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"


def _unfinished(sources: Sequence[Source]) -> list[str]:
    """Evaluations that hold fewer images than they were asked for."""
    found = []
    for source in sources:
        parts: list[tuple[str, Images]] = [("clean", images) for images in source.clean]
        parts += [(series.evaluation, series.images) for series in source.certified]
        parts += [(attacked.evaluation, attacked.images) for attacked in source.attacked]
        found += [
            f"{source.name}: {name} holds {images.total} of {images_name(images.planned)}; run its command again to "
            "finish it"
            for name, images in parts
            if images.total < images.planned
        ]
    return list(dict.fromkeys(found))
