"""What the page is put together from: sections of exhibits, each a table with, where it has one, its drawing."""

from collections.abc import Sequence
from dataclasses import dataclass

from gambeson.reports.charts import Chart, Gallery
from gambeson.reports.tables import Table


@dataclass(frozen=True, eq=False)
class Exhibit:
    """A table under its caption; `drawn` shows the table's numbers, `steps` holds a chart's exact corners."""

    stem: str  # the name of its files
    caption: str
    table: Table
    drawn: Chart | Gallery | None = None
    steps: Table | None = None
    folded: bool = False  # shown on request only


@dataclass(frozen=True, eq=False)
class Section:
    """One heading of the page: paragraphs, then exhibits."""

    stem: str
    title: str
    text: Sequence[str | tuple[str, str]]  # a pair is a lead in bold and what follows it
    exhibits: Sequence[Exhibit] = ()
