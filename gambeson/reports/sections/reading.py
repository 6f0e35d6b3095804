"""How to read the page: what the confidence covers, how numbers are rounded, which of the two radii is which."""

from collections.abc import Sequence

import numpy as np

from gambeson.reports.curves import counts_at
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.grouping import Entry, by_data_and_norm, data_name, fixed_radii, natural
from gambeson.reports.naming import bound, budget, file_stem
from gambeson.reports.series import Certified, Source
from gambeson.reports.shares import Share
from gambeson.reports.subsets import joined
from gambeson.reports.tables import Column, Table
from gambeson.stats.test_set import whole_test_set

RHO = 0.001  # the chance that the statement about the whole test set is wrong


def reading(sources: Sequence[Source]) -> Section:
    """Always there; with the two radii side by side where the records hold both."""
    text: list[str | tuple[str, str]] = [
        (
            "What 1 − alpha covers",
            "The random event is the smoothing noise that was drawn for one image. For each image apart, the "
            "probability that its certified class or radius is wrong is at most alpha. The statement is per image, "
            "not simultaneous: among m images, up to alpha · m mistakes may be expected. The 95% intervals of "
            "accuracies are about another random event, which test images were drawn; the two probabilities are not "
            "multiplied. Under splitting noise every noisy copy is counted: nothing is random, and alpha is 0.",
        ),
        (
            "Several bounds",
            "Each bound holds at its own 1 − alpha. Choosing the larger of two radii after seeing both is not "
            "covered: one-sided and two-sided forms, and several noises, are separate procedures.",
        ),
        (
            "Rounding",
            "Radii are kept and compared in full precision and printed rounded down. Lower ends of intervals are "
            "rounded down, upper ends up.",
        ),
        (
            "Denominators",
            "Every accuracy is a fraction of all images of its evaluation. Abstentions and wrong answers count as "
            "not certified.",
        ),
        (
            "Average certified radius",
            "The mean over all images, 0 where wrong or abstained. It rewards few images with large radii and is not "
            "to be read without the accuracies at fixed radii beside it.",
        ),
        (
            "Noise",
            "In gaussian:s, laplace:b, uniform:L and splitting:L the number is the standard deviation, the scale and "
            "the half-widths, with pixels in [0, 1]; noise comes before any normalisation.",
        ),
        (
            "Norms",
            "An l2 radius and an l-infinity radius are different claims; no figure and no column holds both. What one "
            "implies for the other is in tables of its own, labelled as a reduction.",
        ),
    ]
    if any((series.noise or "").startswith("soft ") for source in sources for series in source.certified):
        text.append(
            (
                "Soft smoothing",
                "'soft' before a noise means that the class with the largest mean score is answered, not the one with "
                "the most votes: another classifier. Attacks are judged by the vote, so that no attack here has tried "
                "it; its certificates stand beside those of the vote and are never compared with attacks on it.",
            )
        )
    grids = sorted({series.evaluation for source in sources for series in source.certified if series.grid})
    if grids:
        text.append(
            (
                "Radii of a grid",
                f"In {', '.join(grids)} draws were spent on deciding the radii of a grid, no more than that took: an "
                "image certifies at least the radius that its record states, and between two radii of the grid the "
                "curve is a lower bound. One lower bound, valid at every look at the counts, serves all radii. There "
                "is no average radius, and 'draws n' is a mean.",
            )
        )
    exhibits = [
        exhibit
        for (dataset, norm), entries in by_data_and_norm(sources).items()
        if (exhibit := _two_radii(dataset, norm, [e for e in entries if e[1].radius_real is not None])) is not None
    ]
    if exhibits:
        lattice = (
            "Images are stored in whole levels (8-bit: 0 to 255), and the noise is drawn on that lattice. The lattice "
            "radius holds against adversaries whose images are stored likewise; the real-valued radius, smaller by the "
            "rounding distance at most, holds against any real-valued perturbation. An image that is not in whole "
            "levels itself loses its distance to the lattice from both. Curves show the lattice radius."
        )
        text.append(("Two radii", lattice))
    simultaneous = _simultaneous(sources)
    if simultaneous is not None:
        text.append(
            (
                "The whole test set at once",
                "The last table turns the per-image statements into one about all images together: with probability "
                f"at least {1 - RHO:g} over all noise draws, at least this fraction of them is truly certified "
                "(Cohen et al. 2019, Theorem 6). It is about these images, not about new ones.",
            )
        )
        exhibits.append(simultaneous)
    return Section("reading", "How to read this", text, exhibits)


def _two_radii(dataset: str | None, norm: str, entries: list[Entry]) -> Exhibit | None:
    if not entries:
        return None
    radii = [0.0, *fixed_radii(entries, dataset)]
    columns = [
        Column("run"),
        Column("images", "count"),
        Column("data"),
        Column("noise"),
        Column("bound"),
        Column("adversary"),
    ]
    columns += [Column(f"certified accuracy, {norm} radius {radius:.6g}", "accuracy") for radius in radii]
    columns.append(Column("natural accuracy (base, no noise)", "accuracy"))
    rows = []
    for source, series in entries:
        total = series.images.total
        for real, who in ((False, "on the pixel lattice"), (True, "real-valued")):
            shares = [Share(int(count), total) for count in counts_at(series, np.array(radii), real=real)]
            of = [total, data_name(source, series.images), series.noise, _bound(series), who]
            rows.append([source.name, *of, *shares, natural(source, series.images)])
    caption = f"Certified accuracy against adversaries on the pixel lattice and against real-valued ones, {norm} norm."
    return Exhibit(file_stem("two-radii", dataset, norm), caption, Table(columns, rows))


def _bound(series: Certified) -> str:
    return joined(bound(series.certificate), budget(series))


def _simultaneous(sources: Sequence[Source]) -> Exhibit | None:
    columns = [
        *(Column("run"), Column("images", "count"), Column("data"), Column("noise"), Column("bound"), Column("norm")),
        *(Column("radius", "setting"), Column("1 − alpha per image", "setting"), Column("certified accuracy", "share")),
        Column(f"lower bound for the whole test set, confidence {1 - RHO:g}", "lower"),
        Column("natural accuracy (base, no noise)", "share"),
    ]
    rows = []
    for (dataset, norm), entries in by_data_and_norm(sources).items():
        for source, series in entries:
            radii = fixed_radii(entries, dataset)
            for radius, count in zip(radii, counts_at(series, np.array(radii)), strict=True):
                if series.alpha is not None:
                    share = Share(int(count), series.images.total)
                    least = whole_test_set(share.count, share.total, series.alpha, RHO) if series.alpha else share.value
                    row = [source.name, share.total, data_name(source, series.images), series.noise]
                    row += [_bound(series), norm, radius]
                    rows.append([*row, 1 - series.alpha, share, least, natural(source, series.images)])
    caption = "Certified accuracy as a statement about the whole test set (Theorem 6)."
    return Exhibit("whole-test-set", caption, Table(columns, rows)) if rows else None
