"""Images from every source in one form: `load(name, split)`. One file per source; the registry is SOURCES."""

from collections.abc import Callable
from pathlib import Path

from gambeson.data.augment import augment
from gambeson.data.cifar import cifar
from gambeson.data.dataset import Dataset
from gambeson.data.digits import digits
from gambeson.data.fetch import fetch
from gambeson.data.folder import folder
from gambeson.data.hub import hub
from gambeson.data.idx import idx
from gambeson.data.locate import folders
from gambeson.data.npz import npz
from gambeson.data.pairs import Pairs, examples
from gambeson.data.split import split as _partition
from gambeson.errors import UserError, nearest

__all__ = [
    "SOURCES", "Dataset", "Pairs", "augment", "cifar", "digits", "examples", "fetch", "folder", "hub", "idx", "load",
    "names", "npz",
]  # fmt: skip

# every source is called as source(name, "train" | "test", folders to search) -> Dataset
SOURCES: dict[str, Callable[..., Dataset]] = {
    "digits": digits,
    "mnist": idx,
    "fashion-mnist": idx,
    "cifar10": cifar,
    "folder": folder,
    "npz": npz,
    "hub": hub,
}
ARGUMENTS = {"folder": "PATH", "npz": "PATH", "hub": "ID"}
SPLITS = ("train", "validation", "test")


def names() -> list[str]:
    """What `load` takes: "digits", ..., "folder:PATH", "npz:PATH", "hub:ID"."""
    return [f"{source}:{ARGUMENTS[source]}" if source in ARGUMENTS else source for source in SOURCES]


def load(name: str, split: str, *, data_dir: str | Path | None = None, validation: int = 0, seed: int = 0) -> Dataset:
    """One split of a data set.

    Args:
        name: one of `names()`.
        split: "train", "validation" or "test".
        data_dir: searched first; then $GAMBESON_DATA, then the user cache (~/.cache/gambeson, or in XDG_CACHE_HOME).
        validation: so many examples are held out of the publisher's training part, which "train" and "validation"
            partition. The test part is never touched.
        seed: which examples are held out.

    Returns:
        Dataset; rows keep their position in the publisher's split as stable index.

    Raises:
        UserError: unknown name (with the nearest known one) or split; data not found (with every folder looked at) or
            damaged (with the file and the row).

    >>> data = load("digits", "train", validation=100)
    >>> len(data), tuple(data.pixels().shape), data.levels
    (1338, (1338, 1, 8, 8), 16)
    """
    source, colon, argument = name.partition(":")
    if source not in SOURCES or (source in ARGUMENTS) != bool(colon and argument):
        raise UserError(f"data set {name!r} is not known; {nearest(source.lower().replace('_', '-'), names())}")
    if split not in SPLITS:
        raise UserError(f"split is {split!r}; it must be one of {', '.join(SPLITS)}")
    if split == "validation" and validation == 0:
        raise UserError(f"{name}: the validation split is empty; hold out examples of train with validation=N, N >= 1")
    places = folders(data_dir)
    if split == "test":
        return SOURCES[source](name, "test", places)
    train, held = _partition(SOURCES[source](name, "train", places), validation=validation, seed=seed)
    return train if split == "train" else held
