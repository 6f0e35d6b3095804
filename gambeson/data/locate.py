"""Where data is looked for, and what is said when it is not there."""

import os
from collections.abc import Sequence
from pathlib import Path

from gambeson.errors import UserError


def folders(data_dir: str | Path | None = None) -> list[Path]:
    """The folders that are searched, in order: `data_dir`, `$GAMBESON_DATA`, the user cache.

    >>> folders("/data")[0].as_posix()
    '/data'
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gambeson"
    named = [place for place in (data_dir, os.environ.get("GAMBESON_DATA")) if place]
    return [*(Path(place).expanduser() for place in named), cache]


def candidates(name: str, places: Sequence[Path]) -> list[Path]:
    """For every place the folder `<place>/<name>`, then the place itself."""
    return [folder for place in places for folder in (place / name, place)]


def not_found(name: str, wanted: str, places: Sequence[Path]) -> UserError:
    """The error that names what was wanted, every folder looked at, and the remedy."""
    looked = ", ".join(f"{path}" if path.is_dir() else f"{path} (no such folder)" for path in candidates(name, places))
    return UserError(
        f"{name}: {wanted} not found. Looked in: {looked}. "
        f"Remedy: `gambeson data fetch {name}`, or name the folder with --data-dir or GAMBESON_DATA"
    )


def resolve(name: str, places: Sequence[Path]) -> Path:
    """The path in "kind:PATH": as written (from the current folder), else below one of `places`."""
    path = Path(name.partition(":")[2]).expanduser()
    tried = dict.fromkeys([path, *(place / path for place in places)])  # an absolute path is the same everywhere
    for found in tried:
        if found.exists() and path != Path():
            return found
    raise UserError(f"{name}: no such path; looked for: {', '.join(map(str, tried))}. Correct it or name --data-dir")
