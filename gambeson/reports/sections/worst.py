"""The worst of all recorded attacks, image by image: no single one of them is the number to quote."""

from collections.abc import Sequence
from typing import Any

from gambeson.reports.empirical import short_name
from gambeson.reports.exhibits import Exhibit
from gambeson.reports.grouping import data_name, natural
from gambeson.reports.naming import radius_name, target_name
from gambeson.reports.series import Attacked, Source
from gambeson.reports.shares import Share
from gambeson.reports.tables import Column, Table

Image = tuple[int, str]


def worst(sources: Sequence[Source]) -> Exhibit | None:
    """A row for each set of images that two attacks or more share, in one ball; None where there is none."""
    columns = [Column("run"), Column("images", "count"), Column("data"), Column("target"), Column("norm")]
    columns += [Column("eps", "text"), Column("attacks", "count"), Column("accuracy, worst of all", "share")]
    columns += [Column("accuracy, strongest alone", "accuracy"), Column("strongest alone")]
    columns += [Column("natural accuracy (base, no noise)", "accuracy")]
    rows = [row for source in sources for row in _rows(source)]
    if not rows:
        return None
    text = (
        "The worst of all attacks that a run has recorded in one ball, per image (Carlini et al. 2019): an image "
        "counts where it was answered correctly under each of them. Attacks for the smallest perturbation count where "
        "what they found lies inside."
    )
    return Exhibit("worst-of-all", text, Table(columns, rows))


def _rows(source: Source) -> list[list[Any]]:
    untargeted = [one for one in source.attacked if one.settings["targeted"] is None]
    balls = {(target_name(one), one.settings["norm"], one.settings["eps"]) for one in untargeted if one.settings["eps"]}
    rows: list[list[Any]] = []
    for target, norm, eps in sorted(balls):
        held = {one: _held(one, eps) for one in untargeted if target_name(one) == target
                and one.settings["norm"] == norm and one.settings["eps"] in (eps, None)}  # fmt: skip
        for images in sorted({frozenset(each) for each in held.values()}, key=len, reverse=True):
            found = {
                one: {image for image in images if each[image]} for one, each in held.items() if images <= set(each)
            }
            if len(found) > 1:
                strongest = min(found, key=lambda one: len(found[one]))
                about = next(one.images for one, each in held.items() if frozenset(each) == images)
                head = [source.name, len(images), data_name(source, about), target, norm, radius_name(eps), len(found)]
                both = [
                    Share(len(set.intersection(*found.values())), len(images)),
                    Share(len(found[strongest]), len(images)),
                ]
                rows.append([*head, *both, short_name(strongest.settings), natural(source, about)])
    return rows


def _held(attacked: Attacked, eps: float) -> dict[Image, bool]:
    """Whether each image held out in a ball of `eps`."""
    near = attacked.settings["eps"] is not None
    broken = ~attacked.images.correct if near else attacked.fooled & (attacked.distance <= eps)
    names = zip(attacked.images.index.tolist(), attacked.images.hash or (), strict=True)
    return {image: not bad for image, bad in zip(names, broken.tolist(), strict=True)}
