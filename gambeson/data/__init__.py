"""Images from every source in one form: `load(name, split)`."""

import difflib
from collections.abc import Callable
from pathlib import Path

from gambeson.data.dataset import Dataset
from gambeson.data.digits import digits
from gambeson.data.idx import idx
from gambeson.data.locate import folders
from gambeson.data.split import split as _partition
from gambeson.errors import UserError

__all__ = ["SOURCES", "Dataset", "digits", "idx", "load", "names"]

SOURCES: dict[str, Callable[..., Dataset]] = {
    "digits": digits,
    "mnist": idx,
    "fashion-mnist": idx,
}
SPLITS = ("train", "validation", "test")


def names() -> list[str]:
    """What `load` takes."""
    return list(SOURCES)


def load(name: str, split: str, *, data_dir: str | Path | None = None, validation: int = 0, seed: int = 0) -> Dataset:
    """One split of a data set, by name."""
    if name not in SOURCES:
        near = difflib.get_close_matches(name, SOURCES, 1, 0.4)
        raise UserError(f"data set {name!r} is not known; known: {', '.join(names())}. Nearest: {', '.join(near)}")
    if split not in SPLITS:
        raise UserError(f"split is {split!r}; it must be one of {', '.join(SPLITS)}")
    if split == "test":
        return SOURCES[name](name, "test", folders(data_dir))
    train = SOURCES[name](name, "train", folders(data_dir))
    return _partition(train, validation=validation, seed=seed)[split == "validation"]
