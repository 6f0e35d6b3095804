"""The three files beside every figure: CSV at full precision, Markdown and LaTeX as printed, the best in bold."""

import csv
import io
from collections.abc import Callable
from typing import Any

from gambeson.reports.shares import CONFIDENCE, Share
from gambeson.reports.tables import UNKNOWN, Table, best, plain, printed


def to_csv(table: Table) -> str:
    """Full precision, one column per number: a share becomes its value and the two ends of its interval."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    level = f"{CONFIDENCE:.0%}"
    header: list[str] = []
    for column in table.columns:
        header.append(column.header)
        if column.kind in ("share", "accuracy"):
            header += [f"{column.header}: {end} end of the {level} interval" for end in ("lower", "upper")]
    writer.writerow(header)
    for row in table.rows:
        cells: list[Any] = []
        for cell, column in zip(row, table.columns, strict=True):
            value = plain(cell)
            cells.append("" if value is None else value)
            if column.kind in ("share", "accuracy"):
                cells += list(cell.interval) if isinstance(cell, Share) else ["", ""]
        writer.writerow(cells)
    return text.getvalue()


def to_markdown(table: Table, caption: str) -> str:
    """A pipe table under its caption, the best values in bold."""
    return _grid(
        table,
        [caption, ""],
        escape=lambda text: text.replace("|", "\\|"),
        bold=lambda text: f"**{text}**",
        line=lambda cells: "| " + " | ".join(cells) + " |",
        rule=["|" + "---|" * len(table.columns)],
        close=[],
    )


def to_latex(table: Table, caption: str, label: str) -> str:
    """A booktabs table, the best values in bold."""
    align = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    opening = ["% needs \\usepackage{booktabs}", "\\begin{table}", "\\centering", f"\\caption{{{_latex(caption)}}}"]
    return _grid(
        table,
        [*opening, f"\\label{{tab:{label}}}", f"\\begin{{tabular}}{{{align}}}", "\\toprule"],
        escape=_latex,
        bold=lambda text: f"\\textbf{{{text}}}",
        line=lambda cells: " & ".join(cells) + " \\\\",
        rule=["\\midrule"],
        close=["\\bottomrule", "\\end{tabular}", "\\end{table}"],
    )


def _grid(
    table: Table,
    opening: list[str],
    *,
    escape: Callable[[str], str],
    bold: Callable[[str], str],
    line: Callable[[list[str]], str],
    rule: list[str],
    close: list[str],
) -> str:
    lines = [*opening, line([escape(column.header) for column in table.columns]), *rule]
    for cells, marks in zip(printed(table), best(table), strict=True):
        lines.append(line([bold(escape(c)) if mark else escape(c) for c, mark in zip(cells, marks, strict=True)]))
    return "\n".join([*lines, *close]) + "\n"


def _latex(text: str) -> str:
    special = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", UNKNOWN: "--"}
    signs = {"≥": "$\\geq$", "≤": "$\\leq$", "−": "$-$", "×": "$\\times$", "σ": "$\\sigma$", "∩": "$\\cap$"}
    escaped = {sign: f"\\{sign}" for sign in "&%$#_{}"}
    return "".join({**special, **signs, **escaped}.get(sign, sign) for sign in text)
