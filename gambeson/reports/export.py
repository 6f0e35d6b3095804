"""Records in other programs' formats: the field's log, CSV, Parquet, JSON."""

import csv
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from gambeson.errors import UserError
from gambeson.jsonl import write_json
from gambeson.records import Run
from gambeson.reports.adversarial import robustbench, tensors
from gambeson.reports.logs import COLUMNS
from gambeson.reports.naming import file_stem, smoothed_name
from gambeson.reports.numbers import significant_down
from gambeson.reports.runs import answer, read_run

Row = dict[str, Any]
_NEEDED = {
    "tsv": "certified records (`gambeson certify` makes them)",
    "tensors": "adversarial images (`gambeson attack` keeps some, see --keep)",
    "robustbench": "finished evaluation by the published protocol: --preset standard of a base model, all four attacks "
    "(a gradient, four classes), with --share 1",
}


def export(run: Path, format: str, out: Path) -> list[Path]:  # noqa: A002
    """Write the records of `run` into the folder `out`; returns the files written.

    Formats:
        tsv: the field's certification log, one file per noise and certificate. Its six columns come first (idx, label,
            predict, radius, correct, time), then ours: certificate, noise, alpha, select_draws, draws, radius_kind,
            top_count (of votes), p_lower, max_radius, radius_real, seed, hash, method, dataset.
            Radii have 17 significant digits, rounded down.
        csv, parquet: one table per kind of evaluation, one row per record, with settings.
        json: one file with header, evaluations and records.
        tensors: the adversarial images that were kept, one safetensors file per attack.
        robustbench: the leaderboard's JSON, one file per evaluation with the preset standard.

    Raises: UserError for an unknown format, a folder that is no run, or a run that holds nothing for the format.
    """
    formats: dict[str, Callable[[Run, Path], list[Path]]] = {
        "tsv": _tsv,
        "csv": _csv,
        "parquet": _parquet,
        "json": _json,
        "tensors": tensors,
        "robustbench": robustbench,
    }
    if format not in formats:
        raise UserError(f"format is {format!r}; it must be one of {', '.join(formats)}")
    read_run(Path(run))  # refuses broken records before anything is written
    opened, folder = Run.open(run), Path(out)
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    written = formats[format](opened, folder)
    if not written:
        if is_new:
            folder.rmdir()
        what = _NEEDED.get(format, "records")
        raise UserError(f"{run} holds no {what}; nothing was exported as {format}")
    return written


def _tsv(run: Run, out: Path) -> list[Path]:
    written: list[Path] = []
    evaluations = run.evaluations("certified")
    for evaluation in evaluations:
        records = sorted(run.records(evaluation["id"]), key=lambda record: record["index"])
        settings, noise = evaluation["settings"], smoothed_name(evaluation["settings"])
        again = evaluation["id"] if sum(smoothed_name(e["settings"]) == noise for e in evaluations) > 1 else None
        for certificate in records[0]["radii"] if records else ():
            rows = [_log_row(run, settings, certificate, record) for record in records]
            path = out / f"{file_stem(run.name, noise, certificate, again)}.tsv"
            _write_rows(path, rows, delimiter="\t")
            written.append(path)
    return written


def _log_row(run: Run, settings: Row, certificate: str, record: Row) -> Row:
    predict = answer(record, certificate)
    abstained = predict == -1
    first = (
        record["index"],
        record["label"],
        predict,
        "0.0" if abstained else significant_down(record["radii"][certificate]),
        int(predict == record["label"]),
        str(timedelta(seconds=record["seconds"])),
    )
    return {
        **dict(zip(COLUMNS, first, strict=True)),
        "certificate": certificate,
        "noise": smoothed_name(settings),
        "alpha": settings["alpha"],
        "select_draws": settings["select_draws"],
        "draws": settings["draws"] if record.get("draws") is None else record["draws"],
        "radius_kind": record.get("radius_kind", "full"),
        "top_count": record["counts"][record["selected"]] if record.get("scores") is None else None,
        "p_lower": significant_down(record["p_lower_two_sided" if "two_sided" in certificate else "p_lower"]),
        "max_radius": settings["max_radius"].get(certificate),
        "radius_real": "0.0" if abstained else significant_down(record["radii_real"][certificate]),
        "seed": settings["seed"],
        "hash": record["hash"],
        "method": run.header["method"],
        "dataset": run.header["dataset"],
    }


def _tables(run: Run) -> dict[str, list[Row]]:
    """Per kind, one flat row per record: the evaluation's settings, then the record; nested values as JSON."""
    tables: dict[str, list[Row]] = {}
    for evaluation in run.evaluations():
        settings = {f"setting_{name}": value for name, value in evaluation["settings"].items()}
        for record in run.records(evaluation["id"]):
            radii = {f"radius_{name}": value for name, value in record.get("radii", {}).items()}
            real = {f"radius_real_{name}": value for name, value in record.get("radii_real", {}).items()}
            distances = {f"distance_{norm}": value for norm, value in (record.get("distances") or {}).items()}
            rest = {name: value for name, value in record.items() if name not in ("radii", "radii_real", "distances")}
            row = {"run": run.name, **rest, **distances, **radii, **real, **settings}
            tables.setdefault(evaluation["kind"], []).append({name: _flat(value) for name, value in row.items()})
    return tables


def _flat(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _csv(run: Run, out: Path) -> list[Path]:
    written = []
    for kind, rows in _tables(run).items():
        _write_rows(out / f"{run.name}-{kind}.csv", rows, delimiter=",")
        written.append(out / f"{run.name}-{kind}.csv")
    return written


def _parquet(run: Run, out: Path) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    written = []
    for kind, rows in _tables(run).items():
        names = dict.fromkeys(name for row in rows for name in row)
        pq.write_table(
            pa.table({name: [row.get(name) for row in rows] for name in names}), out / f"{run.name}-{kind}.parquet"
        )
        written.append(out / f"{run.name}-{kind}.parquet")
    return written


def _json(run: Run, out: Path) -> list[Path]:
    records = run.records()
    if not records:
        return []
    path = out / f"{run.name}.json"
    write_json(path, {"header": run.header, "evaluations": run.evaluations(), "records": records})
    return [path]


def _write_rows(path: Path, rows: list[Row], *, delimiter: str) -> None:
    names = dict.fromkeys(name for row in rows for name in row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(names), delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
