"""The run folder: what is written, how it is appended, read and resumed. Knows no torch and no method.

A run is a folder; `header.json` says what model it is about, `evaluations/<id>.json` what was asked of it, and
`records.jsonl` holds one line per example and evaluation, appended and flushed, so that a run that is killed at
any moment goes on where it stopped: a torn last line is dropped, what is recorded is not done again, and what was
counted of images that are not finished waits in `partial.jsonl` (`gambeson.partial`). An evaluation's id is a hash of
its kind, settings and data, hence the same command always resumes the same evaluation and a changed setting starts a
new one.
"""

import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gambeson.errors import RunError, UserError
from gambeson.jsonl import append, as_line, drop_torn_line, numbered_lines, read_json, read_lines, write_json
from gambeson.partial import Partial
from gambeson.schema import (
    Header,
    as_check,
    as_evaluation,
    as_header,
    as_record,
    check_record,
    check_settings,
)  # fmt: skip

SCHEMA = 1
ABOUT_A_MODEL = ("model.safetensors", "recipe.toml", "records.jsonl", "partial.jsonl", "evaluations", "forms.json")
WHICH = ("model_hash", "shape", "classes", "dataset")  # of a header: what all records of a run are about


@dataclass(frozen=True)
class Run:
    """A run folder. `Run.open` reads an existing one, `Run.create` makes it (or checks that it is the same model's).

    which: the model and data that it was opened for, hashed; None: nobody looked.
    """

    path: Path
    which: str | None = None

    @staticmethod
    def open(path: str | Path) -> "Run":
        run = Run(Path(path))
        if not run.path.is_dir():
            raise UserError(f"{path} is not a run folder (no such directory); `gambeson train` makes one")
        return Run(run.path, _which(run.header))

    @staticmethod
    def create(path: str | Path, header: dict[str, Any]) -> "Run":
        """Make the folder and its header, or leave the one of the same model as it is: it may say how that was trained.
        A folder that another model's evaluations were begun in is refused.
        """
        header = Header.model_validate({"schema": SCHEMA, **header}).model_dump(by_alias=True)
        run = Run(Path(path), _which(header))
        if (run.path / "header.json").exists():
            before = run.header
            differing = [field for field in WHICH if before[field] != header[field]]
            if not differing:
                return run
            if any((run.path / name).exists() for name in ABOUT_A_MODEL):
                raise UserError(
                    f"{path} is about another model (its weights, its normalisation) or data set "
                    f"({differing[0]} {before[differing[0]]!r}, now {header[differing[0]]!r}); choose another --out, "
                    "or delete the folder"
                )
        write_json(run.path / "header.json", header)
        return run

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def header(self) -> dict[str, Any]:
        path = self.path / "header.json"
        header = read_json(path)
        if header.get("schema") != SCHEMA:
            raise UserError(f"{path} has schema {header.get('schema')!r}; this version reads {SCHEMA}")
        return as_header(header, str(path))

    def evaluations(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The settings files, oldest first."""
        paths = sorted((self.path / "evaluations").glob("*.json"))
        found = [as_evaluation(read_json(path), str(path)) for path in paths]
        return sorted((e for e in found if kind in (None, e["kind"])), key=lambda e: (e["created"], e["id"]))

    def records(self, evaluation: str | None = None) -> list[dict[str, Any]]:
        """The records of one evaluation, or all; a line that is no record, or an image's second, is named."""
        found: dict[tuple[str, int], dict[str, Any]] = {}
        for where, line in numbered_lines(self.path / "records.jsonl"):
            if evaluation in (None, line.get("evaluation")):
                key = (as_record(line, where)["evaluation"], line["index"])
                if key in found:
                    raise UserError(f"{where}: image {key[1]} of {key[0]} is recorded twice; remove one of the lines")
                found[key] = line
        return list(found.values())

    def recorded(self) -> Counter[str]:
        """How many records each evaluation has; the records themselves are not checked."""
        return Counter(str(line.get("evaluation")) for line in read_lines(self.path / "records.jsonl"))

    def cost(self) -> dict[str, Any] | None:
        path = self.path / "cost.json"
        return read_json(path) if path.exists() else None

    def metrics(self) -> list[dict[str, Any]]:
        return list(read_lines(self.path / "metrics.jsonl"))

    def checks(self) -> list[dict[str, Any]]:
        return [as_check(line, where) for where, line in numbered_lines(self.path / "checks.jsonl")]

    def save_checks(self, verdicts: list[dict[str, Any]]) -> None:
        temporary = self.path / "checks.jsonl.tmp"
        temporary.write_text("".join(as_line(verdict) for verdict in verdicts))
        temporary.replace(self.path / "checks.jsonl")

    @contextmanager
    def writing(self) -> Iterator["Writer"]:
        """The one writer of this run: drops a torn last line, then appends. A second process is refused, and so is one
        that opened the folder for a model before another process began it for another.
        """
        # Unbuffered: what a full disk did not take is not kept back to be written after something else.
        with (self.path / "records.jsonl").open("ab+", buffering=0) as file:
            _lock(file, self.path)
            if self.which not in (None, _which(self.header)):
                raise UserError(
                    f"{self.path} has become a run of another model or data set since this command opened it; choose "
                    "another --out"
                )
            drop_torn_line(file)
            yield Writer(self, file)
            os.fsync(file.fileno())


@dataclass(frozen=True)
class Writer:
    run: Run
    file: IO[bytes]

    def evaluation(
        self,
        kind: str,
        settings: dict[str, Any],
        data: dict[str, Any],
        examples: int,
        command: str,
        created: str,
        machine: dict[str, Any] | None = None,
        flags: list[dict[str, str]] | None = None,
    ) -> "Evaluation":
        """Begin or resume an evaluation; incomplete settings are refused before anything is computed.

        machine: what the last bits of logits and of the noise depend on (device, threads, versions, processor); an
        evaluation is not resumed on another one. flags: the doubts about the model, kept with the evaluation.
        """
        settings = check_settings(kind, settings)
        name = evaluation_id(kind, settings, data)
        path = self.run.path / "evaluations" / f"{name}.json"
        if not path.exists():
            fields: dict[str, Any] = {
                "id": name,
                "kind": kind,
                "settings": settings,
                "command": command,
                "created": created,
            }
            fields |= {"examples": examples, "data": data, "machine": machine, "flags": flags or []}
            write_json(path, fields)
        found = as_evaluation(read_json(path), str(path))
        if evaluation_id(found["kind"], found["settings"], found["data"]) != name:
            raise UserError(f"{path} was changed: its name is the hash of its settings and data; restore or delete it")
        done = {line["index"] for line in self.run.records(name)}
        begun = found["machine"] or {}
        now = begun if machine is None or len(done) == examples else machine  # what is finished is not gone on with
        differs = ", ".join(
            f"{name} {value} (now {now.get(name)})" for name, value in begun.items() if value != now.get(name)
        )
        if differs:
            raise UserError(
                f"{path} was begun with {differs}, and the last bits of logits or of the noise may differ: "
                "go on there, or use another run folder"
            )
        return Evaluation(name, kind, self.file, done, Partial(self.run.path / "partial.jsonl", name))


@dataclass(frozen=True)
class Evaluation:
    """One evaluation being written: `done` holds the indices that need no work any more, `partial` what was counted of
    others.
    """

    id: str
    kind: str
    file: IO[bytes]
    done: set[int]
    partial: Partial

    def append(self, record: dict[str, Any]) -> None:
        record = check_record(self.kind, {"evaluation": self.id, **record})
        if record["index"] in self.done:
            raise UserError(f"evaluation {self.id}: image {record['index']} is recorded already; indices are unique")
        append(self.file, as_line(record).encode())
        self.done.add(record["index"])


def _lock(file: IO[bytes], path: Path) -> None:
    """Until `file` is closed, however this process ends, this is the one that writes the run folder `path`."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another process is writing {path}; wait for it or stop it") from None
    except OSError as error:
        raise RunError(f"{path} is on a file system that does not lock files ({error.strerror}); use another") from None


def _which(header: dict[str, Any]) -> str:
    return fingerprint([header[field] for field in WHICH])


def evaluation_id(kind: str, settings: dict[str, Any], data: dict[str, Any]) -> str:
    return f"{kind}-{fingerprint([kind, settings, data])[:12]}"


def fingerprint(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
