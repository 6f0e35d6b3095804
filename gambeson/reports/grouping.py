"""Which results may stand side by side: the same data and the same norm, never two norms."""

from collections.abc import Sequence

from gambeson.certificates.customary import published
from gambeson.reports.naming import headlines
from gambeson.reports.series import Certified, Images, Source
from gambeson.reports.shares import Share
from gambeson.reports.subsets import same_images

Entry = tuple[Source, Certified]
FIXED = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)


def dataset_of(source: Source, sources: Sequence[Source]) -> str | None:
    """A log does not state its data; beside runs of one data set only, it is taken to be about the same."""
    known = {other.dataset for other in sources if other.dataset is not None}
    if source.dataset is None and source.kind == "log" and len(known) == 1:
        return known.pop()
    return source.dataset


def by_data_and_norm(sources: Sequence[Source]) -> dict[tuple[str | None, str], list[Entry]]:
    """The headline series of all sources, grouped by data set and norm, in the order of the sources."""
    groups: dict[tuple[str | None, str], list[Entry]] = {}
    for source in sources:
        for series in headlines(source):
            groups.setdefault((dataset_of(source, sources), series.norm), []).append((source, series))
    return groups


def fixed_radii(entries: Sequence[Entry], dataset: str | None) -> list[float]:
    """The radii at which a group is compared: those of `FIXED` and the published ones that somebody reaches."""
    largest = max(float(series.radius.max(initial=0.0)) for _, series in entries)
    radii = {radius for radius in FIXED if radius <= largest} or {FIXED[0]}
    return sorted(radii | {radius for radius in published(dataset, entries[0][1].norm) if radius <= largest})


def natural(source: Source, images: Images | None = None) -> Share | None:
    """Accuracy of the base classifier on clean images, without noise: of the same images where they were evaluated."""
    known = [(clean, Share(clean.right, clean.total)) for clean in source.clean]
    for attacked in source.attacked:
        if attacked.settings["target"] == "base":
            images_ = attacked.images
            right = int((attacked.predict_clean == images_.label).sum())
            known.append((images_, Share(right, images_.total)))
    same = [share for other, share in known if images is not None and same_images(other, images)]
    return same[0] if same else (known[0][1] if known else None)


def data_name(source: Source, images: Images) -> str:
    return ", ".join(part for part in (source.dataset or "data not stated", images.rule) if part)
