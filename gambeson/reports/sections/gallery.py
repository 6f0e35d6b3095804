"""Some images as they are, the perturbation that was found for each, the result, and what was answered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gambeson import kept
from gambeson.errors import UserError
from gambeson.reports.charts import Gallery
from gambeson.reports.empirical import short_name
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.matching import matched
from gambeson.reports.naming import bound, file_stem, headlines, radius_name, target_name
from gambeson.reports.numbers import down
from gambeson.reports.series import Array, Attacked, Source
from gambeson.reports.tables import Column, Table

MOST_IMAGES = 6
OPEN = 2  # galleries that are shown at once; the others unfold


@dataclass(frozen=True)
class Radii:
    """Certified radii of a run by image, and what they are radii of."""

    header: str
    radii: dict[int, float]


def gallery(sources: Sequence[Source]) -> Section | None:
    """One gallery per run, norm and target, at the eps that `_chosen` states."""
    exhibits = []
    for source in sources:
        groups: dict[tuple[str, str], list[Attacked]] = {}
        for attacked in source.attacked:
            if attacked.gallery is not None and (attacked.settings["eps"] or 0) > 0:
                groups.setdefault((attacked.settings["norm"], target_name(attacked)), []).append(attacked)
        exhibits += [_exhibit(source, _chosen(group)) for group in groups.values()]
    if not exhibits:
        return None
    exhibits = [replace(exhibit, folded=place >= OPEN) for place, exhibit in enumerate(exhibits)]
    text = [
        f"The first images of each evaluation that were kept, by index, {MOST_IMAGES} at most, whatever became of "
        "them; of several eps, the smallest at which at least half of all images are not correct any more, else the "
        "largest. The scale of the perturbation is stated above it; grey means no change. 'Fooled what was attacked' "
        "is what the attack saw: of a smoothed classifier its own draws, where the answers are on fresh ones.",
    ]
    return Section("gallery", "Images under attack", text, exhibits)


def _chosen(group: Sequence[Attacked]) -> Attacked:
    ordered = sorted(group, key=lambda attacked: attacked.settings["eps"])
    half = [attacked for attacked in ordered if 2 * attacked.images.right <= attacked.images.total]
    return (half or ordered[-1:])[0]


def _exhibit(source: Source, attacked: Attacked) -> Exhibit:
    x, x_adv, indices = _first(attacked)
    settings, certified = attacked.settings, _radii(source, attacked)
    place = {int(index): row for row, index in enumerate(attacked.images.index)}
    rows, captions = [], []
    for index in indices:
        if index not in place:
            raise UserError(f"{attacked.gallery}: image {index} is not among the records of {attacked.evaluation}")
        row = place[index]
        label, predict = int(attacked.images.label[row]), int(attacked.images.predict[row])
        before, radius = int(attacked.predict_clean[row]), certified.radii.get(index) if certified else None
        rows.append(
            [
                index,
                *(_class(source, answer) for answer in (label, before, predict)),
                "yes" if attacked.success[row] else "no",
                float(attacked.distance[row]),
                *([radius] if certified else []),
            ]
        )
        certified_text = "" if radius is None else f"\nR {down(radius, 2)}"
        captions.append(f"{_class(source, before)} → {_class(source, predict)}{certified_text}")
    norm, eps, target = settings["norm"], radius_name(settings["eps"]), target_name(attacked)
    columns = [
        *(Column("image", "count"), Column("label"), Column("answer, clean"), Column("answer, attacked")),
        *(Column("fooled what was attacked"), Column(f"{norm} distance", "setting")),
        *([Column(certified.header, "radius")] if certified else []),
    ]
    delta = x_adv - x
    scale = _scale(delta)
    title = f"{source.name}, {target}, {short_name(settings)}, {norm} eps {eps}"
    strips = [("image", x), (f"perturbation × {scale:g}, grey = none", 0.5 + scale * delta), ("attacked image", x_adv)]
    drawn = Gallery(title, [(name, _colour(tiles)) for name, tiles in strips], captions)
    under = "answer on the clean → on the attacked image" + (f", R = {certified.header}" if certified else "")
    return Exhibit(
        file_stem("gallery", source.name, target, norm),
        f"{title}. Rows: {', '.join(name for name, _ in strips)}. Under each column: {under}.",
        Table(columns, rows),
        drawn,
    )


def _first(attacked: Attacked) -> tuple[Array, Array, list[int]]:
    tensors = kept.read(attacked.gallery)  # type: ignore[arg-type]  # only those that have one
    order = np.argsort(tensors["indices"])[:MOST_IMAGES]
    x, x_adv = (tensors[name][order].astype(np.float64) for name in ("x", "x_adv"))
    return x, x_adv, [int(index) for index in tensors["indices"][order]]


def _radii(source: Source, attacked: Attacked) -> Radii | None:
    """The radii of the attacked smoothed classifier in the attack's norm on the same images; a base classifier, which
    has no noise, has none.
    """
    for series in headlines(source):
        match = matched(series.images, attacked.images)
        alike = (series.noise, series.norm) == (attacked.settings["noise"], attacked.settings["norm"])
        if alike and not isinstance(match, str):
            held = np.where(series.images.correct, series.radius, 0.0)[match[0]]
            told = f"{series.noise}, {bound(series.certificate)}, 0 if wrong or abstained"
            indices = series.images.index[match[0]]
            header = f"certified {series.norm} radius, {told}"
            return Radii(header, dict(zip(indices.tolist(), held.tolist(), strict=True)))
    return None


def _class(source: Source, answer: int) -> str:
    names = source.header.get("classes") or []
    return "abstains" if answer == -1 else names[answer] if answer < len(names) else str(answer)


def _scale(delta: Array) -> float:
    """The largest factor of one digit that keeps 0.5 + factor * delta within [0, 1]."""
    largest = float(np.abs(delta).max(initial=0.0))
    if largest == 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(0.5 / largest))
    return float(np.floor(0.5 / largest / power) * power)


def _colour(tiles: Array) -> Array:
    """(N, C, H, W) as (N, H, W, 3): three channels are red, green, blue; any other number is averaged to grey."""
    last = np.moveaxis(tiles, 1, -1)
    return last if last.shape[-1] == 3 else np.repeat(last.mean(-1, keepdims=True), 3, axis=-1)
