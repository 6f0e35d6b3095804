"""A run folder as arrays: every record is checked against the schema, and a broken one is named by file and line."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gambeson import kept
from gambeson.errors import UserError
from gambeson.records import Run
from gambeson.reports.naming import TIGHT, smoothed_name
from gambeson.reports.series import Attacked, Certified, Diagnosed, Images, Source
from gambeson.schema import RECORDS

Line = dict[str, Any]


def read_run(path: Path) -> Source:
    """The run at `path` as a `Source`; evaluations without any record are left out."""
    run = Run.open(path)
    evaluations = run.evaluations()
    lines = _lines(run, {evaluation["id"] for evaluation in evaluations})
    evaluations = [evaluation for evaluation in evaluations if lines[evaluation["id"]]]
    of_kind = {kind: [e for e in evaluations if e["kind"] == kind] for kind in RECORDS}
    return Source(
        name=run.name,
        path=run.path,
        kind="run",
        header=run.header,
        clean=tuple(_images(e, lines[e["id"]]) for e in of_kind["clean"]),
        certified=tuple(series for e in of_kind["certified"] for series in _certified(e, lines[e["id"]])),
        attacked=tuple(_attacked(run, e, lines[e["id"]]) for e in of_kind["attacked"]),
        diagnosed=tuple(_diagnosed(e, lines[e["id"]]) for e in of_kind["diagnosed"]),
        checks=tuple(run.checks()),
        cost=run.cost(),
        commands=tuple(dict.fromkeys(e["command"] for e in evaluations)),
    )


def _lines(run: Run, known: set[str]) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = defaultdict(list)
    for line in run.records():
        name = line["evaluation"]
        if name not in known:
            where = f"{run.path}/records.jsonl"
            raise UserError(f"{where} holds records of {name!r}, and {run.path}/evaluations has no file of that name")
        found[name].append(line)
    return defaultdict(list, {name: sorted(rows, key=lambda row: row["index"]) for name, rows in found.items()})


def _images(evaluation: Line, lines: list[Line]) -> Images:
    return Images(
        index=_column(lines, "index"),
        label=_column(lines, "label"),
        predict=_column(lines, "predict"),
        correct=_column(lines, "correct"),
        hash=tuple(line["hash"] for line in lines),
        planned=evaluation["examples"],
        rule=evaluation["data"].get("rule"),
    )


def _certified(evaluation: Line, lines: list[Line]) -> list[Certified]:
    settings = evaluation["settings"]
    return [
        Certified(
            images=_certified_images(evaluation, lines, name),
            evaluation=evaluation["id"],
            certificate=name,
            norm="l1" if "_l1" in name else "l2",
            noise=smoothed_name(settings),
            alpha=settings["alpha"],
            select_draws=settings["select_draws"],
            draws=_draws(settings, lines),
            radius=np.array([line["radii"][name] for line in lines], dtype=np.float64),
            radius_real=np.array([line["radii_real"][name] for line in lines], dtype=np.float64),
            max_radius=settings["max_radius"].get(name),
            seconds=_column(lines, "seconds"),
            rounding_distance=settings["rounding_distance"]["l1" if "_l1" in name else "l2"],
            levels=evaluation["data"].get("levels"),
            grid=None if isinstance(settings["budget"], str) else tuple(settings["budget"]["radii"]),
            **_of_a_table(settings, lines, name),
        )
        for name in lines[0]["radii"]
    ]


def _of_a_table(settings: Line, lines: list[Line], certificate: str) -> Line:
    """Of a table that was certified for an error; only the tight certificate's radii are ruled out."""
    budget = settings["budget"]
    error = None if isinstance(budget, str) else budget.get("table_error")
    if error is None or certificate != TIGHT[settings["noise"].partition(":")[0]]:
        return {}
    undecided = [[radius in line["undecided"] for radius in budget["radii"]] for line in lines]
    return {"table_error": error, "undecided": np.array(undecided, dtype=bool)}


def _draws(settings: Line, lines: list[Line]) -> float:
    """Draws that bounded an image's class, on average."""
    if isinstance(settings["budget"], str):
        return int(settings["draws"])
    return round(sum(line["draws"] for line in lines) / len(lines))


def answer(record: Line, certificate: str) -> int:
    """What a certificate answers: the selected class where its own radius is above 0, else an abstention (-1).

    Each certificate abstains by itself: another one may see more in the same counts. Exact ones never do: their class
    is known, if only at the image itself. An image that was left alone because its class is wrong counts as wrong.
    """
    if record.get("radius_kind") == "exact" or record.get("stopped") == "wrong":
        return int(record["selected"])
    return int(record["selected"]) if record["radii"][certificate] > 0 else -1


def _certified_images(evaluation: Line, lines: list[Line], certificate: str) -> Images:
    images = _images(evaluation, lines)
    predict = np.array([answer(line, certificate) for line in lines], dtype=np.int64)
    return replace(images, predict=predict, correct=predict == images.label)


def _attacked(run: Run, evaluation: Line, lines: list[Line]) -> Attacked:
    gallery = kept.path_of(run.path, evaluation["id"])
    return Attacked(
        images=_images(evaluation, lines),
        evaluation=evaluation["id"],
        settings=evaluation["settings"],
        predict_clean=_column(lines, "predict_clean"),
        success=_column(lines, "success"),
        distance=_column(lines, "distance"),
        gallery=gallery if gallery.exists() else None,
        seconds=_column(lines, "seconds"),
        broken_by=tuple(line["broken_by"] for line in lines) if evaluation["settings"].get("members") else (),
        rounded=None
        if any(line.get("predict_rounded") is None for line in lines)
        else _column(lines, "predict_rounded"),
    )


def _diagnosed(evaluation: Line, lines: list[Line]) -> Diagnosed:
    def numbers(name: str) -> Any:
        return np.array([line[name] for line in lines], dtype=np.float64)  # None becomes NaN

    signs = ("one_step", "black_box", "random_noise")
    fell = [not line["correct"] or any(map(line.get, signs)) for line in lines]
    after = numbers("after_steps"), numbers("after_restarts")
    return Diagnosed(
        images=_images(evaluation, lines),
        evaluation=evaluation["id"],
        settings=evaluation["settings"],
        after_steps=after[0],
        after_restarts=after[1],
        fell=np.array(fell) | ~np.isnan(after[0]) | ~np.isnan(after[1]),
        gradient=all(line["one_step"] is not None for line in lines),
        gamma=numbers("gamma"),
        loss=numbers("loss"),
    )


def _column(lines: list[Line], name: str) -> Any:
    return np.array([line[name] for line in lines])
