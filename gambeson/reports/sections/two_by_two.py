"""Training against bound: {noisy, stability} x {Renyi, Gaussian} on the same counts."""

from collections.abc import Sequence

import numpy as np

from gambeson.reports.curves import counts_at
from gambeson.reports.empirical import numbered
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.grouping import Entry, dataset_of, fixed_radii, natural
from gambeson.reports.naming import file_stem, radius_name
from gambeson.reports.radius_exhibit import radius_exhibit
from gambeson.reports.series import Array, Source
from gambeson.reports.shares import Share
from gambeson.reports.subsets import same_images
from gambeson.reports.tables import Column, Table

METHODS = ("noisy", "stability")
BOUNDS = ("renyi_l2", "gaussian_l2")


def two_by_two(sources: Sequence[Source]) -> Section | None:
    """One figure and one table of differences for each data set and noise under which both methods were certified."""
    exhibits = []
    for (dataset, noise), cells in _cells(sources).items():
        if len(cells) == 4:
            entries = [cells[method, certificate] for method in METHODS for certificate in BOUNDS]
            if not same_images(entries[0][1].images, entries[2][1].images):
                continue  # other images: their difference would be no gain of the training; the pairs say so
            tint = {cells[method, BOUNDS[0]][0].name: place for place, method in enumerate(METHODS)}
            stem = file_stem("two-by-two", dataset, noise)
            title = f"Training against bound: {' and '.join(METHODS)} training, {dataset or 'data not stated'}, l2"
            exhibits.append(radius_exhibit(stem, title, entries, tint=tint, numbers=numbered(sources), dataset=dataset))
            exhibits.append(_gains(file_stem("gains", dataset, noise), cells, dataset, noise))
    if not exhibits:
        return None
    text = [
        "The four combinations are computed from the same counts of the same images, so that what the training gains "
        "and what the bound gains can be told apart.",
    ]
    return Section("two-by-two", "What the training gains, and what the bound gains", text, exhibits)


def _cells(sources: Sequence[Source]) -> dict[tuple[str | None, str | None], dict[tuple[str, str], Entry]]:
    """For every data set and noise, the first run of each method under each bound, on its most images, in full
    precision where it has that.
    """
    found: dict[tuple[str | None, str | None], dict[tuple[str, str], Entry]] = {}
    for source in sources:
        for series in sorted(source.certified, key=lambda series: (-series.images.total, series.grid is not None)):
            if source.method in METHODS and series.certificate in BOUNDS:
                cells = found.setdefault((dataset_of(source, sources), series.noise), {})
                cells.setdefault((source.method, series.certificate), (source, series))
    return found


def _gains(stem: str, cells: dict[tuple[str, str], Entry], dataset: str | None, noise: str | None) -> Exhibit:
    (noisy, stability), (renyi, gaussian) = METHODS, BOUNDS
    radii = [0.0, *fixed_radii(list(cells.values()), dataset)]
    names = {method: cells[method, gaussian][0].name for method in METHODS}
    columns = [
        Column("l2 radius", "setting"),
        *(
            Column(f"certified accuracy: {names[m]}, {'Renyi' if b == renyi else 'Gaussian'}", "share")
            for m, b in cells
        ),
        Column(f"training gains (Gaussian): {names[stability]} − {names[noisy]}", "signed"),
        Column(f"training gains (Renyi): {names[stability]} − {names[noisy]}", "signed"),
        Column(f"bound gains: Gaussian − Renyi, {names[noisy]}", "signed"),
        Column(f"bound gains: Gaussian − Renyi, {names[stability]}", "signed"),
        *(Column(f"natural accuracy (base): {names[method]}", "share") for method in METHODS),
    ]
    share: dict[tuple[str, str], list[Share]] = {
        key: [Share(int(count), entry[1].images.total) for count in _counts(entry, radii)]
        for key, entry in cells.items()
    }
    rows = []
    for place, radius in enumerate(radii):
        at = {key: shares[place].value for key, shares in share.items()}
        differences = [at[stability, b] - at[noisy, b] for b in (gaussian, renyi)]
        differences += [at[m, gaussian] - at[m, renyi] for m in METHODS]
        base = [natural(entry[0], entry[1].images) for entry in (cells[m, gaussian] for m in METHODS)]
        rows.append([radius, *(share[key][place] for key in cells), *differences, *base])
    shown = ", ".join(radius_name(radius) for radius in radii)
    text = (
        f"Differences of certified accuracy under {noise} at l2 radii {shown}. Intervals of what the training gains "
        "under the Gaussian bound are in the paired comparison."
    )
    return Exhibit(stem, text, Table(columns, rows))


def _counts(entry: Entry, radii: list[float]) -> Array:
    return counts_at(entry[1], np.array(radii))
