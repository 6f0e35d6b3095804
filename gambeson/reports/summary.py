"""summary.json: what other programs read; unknown fields are null."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from gambeson.reports.curves import average_radius, cells, counts_at, grid
from gambeson.reports.grouping import natural
from gambeson.reports.reduced import Reduced, reduced, sizes
from gambeson.reports.series import Attacked, Certified, Images, Source


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CurvePoint(Part):
    radius: float
    accuracy: float


class Cell(Part):
    """What is known of a cell when draws have been spent on the whole table."""

    radius: float
    certified: float
    certified_or_undecided: float


class CertifiedSummary(Part):
    certificate: str | None
    noise: str | None
    norm: str
    alpha: float | None
    abstained: float
    average_radius: float | None
    max_radius: float | None
    draws_mean: float | None
    radius_kind: str
    curve: list[CurvePoint]
    table_error: float | None
    cells: list[Cell] | None


class ReducedSummary(Part):
    """Certified accuracy in linf or l0 (radii count changed pixels) that follows from another norm's certificate;
    the stated radius is included."""

    label: str
    norm: str
    certificate: str | None
    certificate_norm: str
    noise: str | None
    alpha: float | None
    max_radius: float | None
    radius_kind: str
    curve: list[CurvePoint]


class AttackedSummary(Part):
    attack: str
    norm: str
    eps: float | None  # null of attacks for the smallest perturbation
    target: str
    settings: dict[str, Any]
    accuracy: float
    correct: float
    wrong: float
    abstained: float
    examples: int


class CheckSummary(Part):
    check: str
    verdict: Literal["pass", "doubt", "fail", "not_run"]
    value: float | None
    threshold: float | None


class CostSummary(Part):
    train_seconds: float | None
    forward_passes: int | None
    backward_passes: int | None
    ratio_to_plain: float | None


class RunSummary(Part):
    name: str
    method: str | None
    dataset: str | None
    examples: int | None
    clean_accuracy: float | None
    certified: list[CertifiedSummary]
    reductions: list[ReducedSummary]
    attacked: list[AttackedSummary]
    checks: list[CheckSummary]
    cost: CostSummary | None


class Summary(Part):
    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True, populate_by_name=True)

    schema_: Literal[1] = Field(alias="schema")
    runs: list[RunSummary]


def summary(sources: Sequence[Source]) -> Summary:
    """All sources, in their order. `examples` is the number of images of the largest evaluation."""
    return Summary(schema=1, runs=[_run(source) for source in sources])


def _run(source: Source) -> RunSummary:
    seen: list[Images] = [*source.clean, *(s.images for s in source.certified), *(a.images for a in source.attacked)]
    base = natural(source)
    cost = source.cost
    return RunSummary(
        name=source.name,
        method=source.method,
        dataset=source.dataset,
        examples=max((images.total for images in seen), default=None),
        clean_accuracy=None if base is None else base.value,
        certified=[_certified(series, source.dataset) for series in source.certified],
        reductions=[_reduced(one, source.dataset) for one in reduced(source)],
        attacked=[_attacked(attacked) for attacked in source.attacked],
        checks=[CheckSummary.model_validate(_fields(CheckSummary, check)) for check in source.checks],
        cost=None if cost is None else CostSummary.model_validate(_fields(CostSummary, cost)),
    )


def _fields(part: type[Part], values: dict[str, Any]) -> dict[str, Any]:
    return {name: values.get(name) for name in part.model_fields}


def _certified(series: Certified, dataset: str | None) -> CertifiedSummary:
    total = series.images.total
    radii = grid(series, dataset)
    counts = counts_at(series, np.array(radii))
    return CertifiedSummary(
        certificate=series.certificate,
        noise=series.noise,
        norm=series.norm,
        alpha=series.alpha,
        abstained=series.images.abstained / total,
        average_radius=average_radius(series),
        max_radius=series.max_radius,
        draws_mean=series.draws,
        radius_kind="full" if series.grid is None else "grid",
        curve=[CurvePoint(radius=r, accuracy=int(count) / total) for r, count in zip(radii, counts, strict=True)],
        table_error=series.table_error,
        cells=[
            Cell(radius=radius, certified=low / total, certified_or_undecided=high / total)
            for radius, low, high in cells(series)
        ]
        or None,
    )


def _reduced(one: Reduced, dataset: str | None) -> ReducedSummary:
    series, total = one.series, one.series.images.total
    return ReducedSummary(
        label=one.label,
        norm=one.norm,
        certificate=series.certificate,
        certificate_norm=series.norm,
        noise=series.noise,
        alpha=series.alpha,
        max_radius=one.largest,
        radius_kind="full" if series.grid is None else "grid",
        curve=[CurvePoint(radius=size, accuracy=one.count(size) / total) for size in sizes([one], dataset)],
    )


def _attacked(attacked: Attacked) -> AttackedSummary:
    images, settings = attacked.images, attacked.settings
    return AttackedSummary(
        attack=settings["attack"],
        norm=settings["norm"],
        eps=settings["eps"],
        target=settings["target"],
        settings=settings,
        accuracy=images.right / images.total,
        correct=images.right / images.total,
        wrong=images.wrong / images.total,
        abstained=images.abstained / images.total,
        examples=images.total,
    )
