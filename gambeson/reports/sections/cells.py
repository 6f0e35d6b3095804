"""Tables that were certified for an error: what is known of each cell, and what of it is the choice of images."""

from collections.abc import Sequence

from gambeson.reports import curves
from gambeson.reports.exhibits import Exhibit
from gambeson.reports.grouping import by_data_and_norm, data_name, natural
from gambeson.reports.naming import bound, file_stem
from gambeson.reports.series import Source
from gambeson.reports.shares import Share
from gambeson.reports.tables import Column, Table

CELLS = (
    "Cells of a table",
    "Where a table was certified for an error, draws went to the images that change it most. At each radius of the "
    "grid, the certified accuracy that any number of draws would show lies between the images that are certified and "
    "those that are certified or undecided, but for alpha to each side and image. The 95% intervals in brackets are "
    "about another random event, which test images were drawn.",
)


def cells(sources: Sequence[Source]) -> list[Exhibit]:
    """One table per data set and norm, a row per run, noise and radius; none where no error was asked for."""
    exhibits = []
    for (dataset, norm), entries in by_data_and_norm(sources).items():
        columns = [
            *(Column("run"), Column("noise"), Column("certified by"), Column(f"{norm} radius", "setting")),
            *(Column("certified accuracy, at least", "share"), Column("certified or undecided, at most", "share")),
            *(Column("undecided, share of all images", "accuracy"), Column("asked for, at most", "setting")),
            *(Column("1 − alpha per image", "setting"), Column("images", "count"), Column("data")),
            Column("natural accuracy (base, no noise)", "accuracy"),
        ]
        rows = []
        for source, series in entries:
            total = series.images.total
            for radius, low, high in curves.cells(series):
                known = [Share(low, total), Share(high, total), (high - low) / total]
                asked = [series.table_error, None if series.alpha is None else 1 - series.alpha]
                about = [total, data_name(source, series.images), natural(source, series.images)]
                rows.append([source.name, series.noise, bound(series.certificate), radius, *known, *asked, *about])
        if rows:
            caption = f"Certified accuracy in {norm} as far as it is known, {dataset or 'data not stated'}."
            exhibits.append(Exhibit(file_stem("cells", dataset, norm), caption, Table(columns, rows)))
    return exhibits
