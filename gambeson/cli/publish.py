"""report, export: from records to pages, tables and other people's formats."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    sources: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, and logs in the field's own format.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the page, figures, tables and summary.json.")] = Path("report"),
) -> None:
    """Write one page, its figures, a table per figure, and summary.json.

    Example: gambeson report runs/mnist-plain runs/mnist-stability-0.50 --out report
    """
    from gambeson.reports import report as write

    typer.echo(f"report: {write(sources, out)}")


def export(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    format: Annotated[  # noqa: A002
        str, typer.Option(help="tsv (the field's certify log), csv, parquet, json, tensors, robustbench.")
    ] = "tsv",
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("export"),
) -> None:
    """Write a run's records for other tools.

    Example: gambeson export runs/mnist-stability-0.50 --format tsv --out logs
    """
    from gambeson.reports import export as write

    for path in write(run, format, out):
        typer.echo(path)
