"""Per-image certification logs in the field's own format: idx, label, predict, radius, correct, time, tab-separated."""

import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from gambeson.errors import UserError
from gambeson.reports.series import Certified, Images, Source

COLUMNS = ("idx", "label", "predict", "radius", "correct", "time")


def is_log(path: Path) -> bool:
    """Whether `path` is a text file whose first line holds the six columns."""
    with path.open("rb") as file:
        first = file.readline(4096)
    return set(COLUMNS) <= set(first.decode("utf-8", "replace").strip().split("\t"))


def read_log(path: Path) -> Source:
    """The log at `path` as a `Source` of one certified series.

    The format says neither the noise nor the norm: the norm is taken as l2, as where the format comes from
    (https://github.com/locuslab/smoothing), unless a further column `certificate` says otherwise. Further columns
    that `gambeson export` writes (certificate, noise, alpha, select_draws, draws, max_radius) are used where present.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8 ({error}); restore the file") from None
    header = lines[0].split("\t")
    rows = [_row(path, number, header, line) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    if not rows:
        raise UserError(f"{path} holds no image; a log has one line per image after its header")
    index = np.array([int(row["idx"]) for row in rows])
    if len(set(index.tolist())) < len(index):
        twice = next(i for i in index.tolist() if index.tolist().count(i) > 1)
        raise UserError(f"{path}: image {twice} occurs twice; a log has one line per image")
    first = {name: value for name, value in rows[0].items() if value not in ("", None)}
    hashes = tuple(row["hash"] for row in rows) if "hash" in header else None
    images = Images(
        index=index,
        label=np.array([int(row["label"]) for row in rows]),
        predict=np.array([int(row["predict"]) for row in rows]),
        correct=np.array([row["correct"] == "1" for row in rows]),
        hash=hashes,
        planned=len(rows),
        rule=None,
    )
    certificate = first.get("certificate")
    series = Certified(
        images=images,
        evaluation=path.name,
        certificate=certificate,
        norm="l1" if certificate is not None and "_l1" in certificate else "l2",
        noise=first.get("noise"),
        alpha=_number(path, first, "alpha", float),
        select_draws=_number(path, first, "select_draws", int),
        draws=_number(path, first, "draws", int),
        radius=np.array([float(row["radius"]) for row in rows]),
        radius_real=None,
        max_radius=_number(path, first, "max_radius", float),
        seconds=np.array([_seconds(row["time"]) for row in rows]),
    )
    fields: dict[str, Any] = {name: first[name] for name in ("method", "dataset") if name in first}
    return Source(name=_stem(path), path=path, kind="log", header=fields, certified=(series,))


def _row(path: Path, number: int, header: list[str], line: str) -> dict[str, str]:
    values = line.split("\t")
    where = f"{path}, line {number}"
    if len(values) != len(header):
        raise UserError(f"{where}: {len(values)} columns instead of {len(header)}; the line is torn: remove or redo it")
    row = dict(zip(header, values, strict=True))
    try:
        label, predict, radius = int(row["label"]), int(row["predict"]), float(row["radius"])
        int(row["idx"])
        _seconds(row["time"])
    except ValueError as error:
        raise UserError(f"{where}: {error}; expected numbers in {', '.join(COLUMNS)}") from None
    if row["correct"] not in ("0", "1") or (row["correct"] == "1") != (label == predict):
        raise UserError(f"{where}: correct is {row['correct']!r} for label {label} and predict {predict}; it is 0 or 1")
    if not radius >= 0 or math.isinf(radius):
        raise UserError(f"{where}: radius is {row['radius']}; it must be finite and >= 0 (0.0 when abstaining)")
    return row


def _seconds(text: str) -> float:
    """0:02:31.238689, or 1 day, 0:00:01, as Python writes a timedelta; or plain seconds, 15.4, as older logs do."""
    if ":" not in text:
        return float(text)
    days, _, clock = text.rpartition(",")
    hours, minutes, seconds = clock.strip().split(":")
    day = int(days.split()[0]) if days else 0
    return timedelta(days=day, hours=int(hours), minutes=int(minutes), seconds=float(seconds)).total_seconds()


def _number(path: Path, first: dict[str, str], name: str, kind: Callable[[str], Any]) -> Any:
    """A further column's number, as the first row has it; None where the log lacks it."""
    try:
        return kind(first[name]) if name in first else None
    except ValueError as error:
        raise UserError(f"{path}, line 2: {name}: {error}; correct the column or leave it out") from None


def _stem(path: Path) -> str:
    """The name without a log's ending; `sigma_0.25` keeps its number."""
    return path.stem if path.suffix in (".tsv", ".txt", ".csv", ".log") else path.name
