"""JSON on disk that survives a kill at any moment: a file is old or new, a line is whole or dropped."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from gambeson.errors import RunError, UserError


def write_json(path: Path, value: Any) -> None:
    """Write `value` so that a reader sees the old file or the new one, never half of it."""
    replace(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def replace(path: Path, content: bytes) -> None:
    """All of `content` in place of the file, or nothing: what was there stays, and no part is left beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
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
    """The objects of a .jsonl file; a torn last line is dropped, any other broken line is an error."""
    return (value for _, value in numbered_lines(path))


def numbered_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """`read_lines`, each object with where it stands: "FILE, line 7"."""
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
            yield f"{path}, line {number}", value


def as_line(value: dict[str, Any]) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":")) + "\n"


def append(file: IO[bytes], line: bytes) -> None:
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


def drop_torn_line(file: IO[bytes]) -> None:
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
