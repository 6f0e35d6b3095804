"""The run folder: what is written, how it is appended, read and resumed. Knows no torch and no method.

A run is a folder; `header.json` says what model it is about, `evaluations/<id>.json` what was asked of it, and
`records.jsonl` holds one line per example and evaluation, appended and flushed, so that a run that is killed at
any moment goes on where it stopped: a torn last line is dropped, what is recorded is not done again. An
evaluation's id is a hash of its kind, settings and data, hence the same command always resumes the same evaluation
and a changed setting starts a new one.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gambeson.errors import RunError, UserError
from gambeson.schema import Header, check_record, check_settings

SCHEMA = 1


def write_json(path: Path, value: Any) -> None:
    """Write `value` so that a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w") as file:
        json.dump(value, file, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
        if not isinstance(value, dict):
            raise json.JSONDecodeError("an object is expected", "", 0)
        return value
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; is {path.parent} a run folder? (`gambeson train` makes one)") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable JSON ({error}); restore the file or start a new run") from None


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a .jsonl file; a torn last line is dropped, any other broken line is an error."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                value = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}, line {number}: not JSON ({error}); remove the line and run again") from None
            if not isinstance(value, dict):
                raise UserError(f"{path}, line {number}: not an object; remove the line and run again")
            yield value


@dataclass(frozen=True)
class Run:
    """A run folder. `Run.open` reads an existing one, `Run.create` makes it (or checks that it is the same model's)."""

    path: Path

    @staticmethod
    def open(path: str | Path) -> "Run":
        run = Run(Path(path))
        if not run.path.is_dir():
            raise UserError(f"{path} is not a run folder (no such directory); `gambeson train` makes one")
        _ = run.header
        return run

    @staticmethod
    def create(path: str | Path, header: dict[str, Any]) -> "Run":
        """Make the folder and its header. A folder that already holds another model's records is refused."""
        run = Run(Path(path))
        header = Header.model_validate({"schema": SCHEMA, **header}).model_dump(by_alias=True)
        if (run.path / "header.json").exists():
            for field in ("model_hash", "shape", "classes", "dataset"):
                if run.header[field] != header[field] and (run.path / "records.jsonl").exists():
                    raise UserError(
                        f"{path} holds records of another model or data set ({field} {run.header[field]!r}, "
                        f"now {header[field]!r}); choose another --out, or delete the folder"
                    )
        write_json(run.path / "header.json", header)
        return run

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def header(self) -> dict[str, Any]:
        header = read_json(self.path / "header.json")
        if header.get("schema") != SCHEMA:
            raise UserError(f"{self.path}/header.json has schema {header.get('schema')!r}; this version reads {SCHEMA}")
        return header

    def evaluations(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The settings files, oldest first."""
        found = [read_json(path) for path in sorted((self.path / "evaluations").glob("*.json"))]
        return sorted((e for e in found if kind in (None, e["kind"])), key=lambda e: (e["created"], e["id"]))

    def records(self, evaluation: str | None = None) -> list[dict[str, Any]]:
        lines = read_lines(self.path / "records.jsonl")
        return [line for line in lines if evaluation in (None, line["evaluation"])]

    def cost(self) -> dict[str, Any] | None:
        path = self.path / "cost.json"
        return read_json(path) if path.exists() else None

    def metrics(self) -> list[dict[str, Any]]:
        return list(read_lines(self.path / "metrics.jsonl"))

    def checks(self) -> list[dict[str, Any]]:
        return list(read_lines(self.path / "checks.jsonl"))

    def save_checks(self, verdicts: list[dict[str, Any]]) -> None:
        temporary = self.path / "checks.jsonl.tmp"
        temporary.write_text("".join(_line(verdict) for verdict in verdicts))
        temporary.replace(self.path / "checks.jsonl")

    @contextmanager
    def writing(self) -> Iterator["Writer"]:
        """The one writer of this run: drops a torn last line, then appends. A second process is refused."""
        # Unbuffered: what a full disk did not take is not kept back to be written after something else.
        with (self.path / "records.jsonl").open("ab+", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(f"another process is writing {self.path}; wait for it or stop it") from None
            _drop_torn_line(file)
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

        machine: what the last bits of logits depend on (device, threads, torch); an evaluation is not resumed on
        another one. flags: the doubts about the model, kept with the evaluation.
        """
        settings = check_settings(kind, settings)
        name = f"{kind}-{fingerprint([kind, settings, data])[:12]}"
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
        begun = read_json(path).get("machine")
        if begun and machine and begun != machine:
            differs = ", ".join(
                f"{name} {begun[name]} (now {machine.get(name)})" for name in begun if begun[name] != machine.get(name)
            )
            raise UserError(
                f"{path} was begun with {differs}, and the last bits of logits may differ: "
                "go on there, or use another run folder"
            )
        done = {line["index"] for line in self.run.records(name)}
        return Evaluation(name, kind, self.file, done)


@dataclass(frozen=True)
class Evaluation:
    """One evaluation being written: `done` holds the indices that need no work any more."""

    id: str
    kind: str
    file: IO[bytes]
    done: set[int]

    def append(self, record: dict[str, Any]) -> None:
        record = check_record(self.kind, {"evaluation": self.id, **record})
        if record["index"] in self.done:
            raise UserError(f"evaluation {self.id}: image {record['index']} is recorded already; indices are unique")
        _append(self.file, _line(record).encode())
        self.done.add(record["index"])


def fingerprint(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":")) + "\n"


def _append(file: IO[bytes], line: bytes) -> None:
    """All of `line` or nothing: an unbuffered file may take a part, and a full disk none."""
    size, rest = file.seek(0, os.SEEK_END), line
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        file.truncate(size)
        raise RunError(
            f"{file.name} cannot be written ({error.strerror}); what it holds is complete: make room, run again"
        ) from error


def _drop_torn_line(file: IO[bytes]) -> None:
    size = file.seek(0, os.SEEK_END)
    position = size
    while position > 0:
        start = max(0, position - 65536)
        file.seek(start)
        newline = file.read(position - start).rfind(b"\n")
        if newline >= 0:
            position = start + newline + 1
            break
        position = start
    if position < size:
        file.truncate(position)
    file.seek(0, os.SEEK_END)
