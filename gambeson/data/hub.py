"""Any labelled image data set of the Hugging Face hub (the extra `hub`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gambeson.data.dataset import Dataset
from gambeson.data.decode import decode
from gambeson.data.labels import labels
from gambeson.errors import UserError


def hub(name: str, split: str, places: Sequence[Path] = ()) -> Dataset:
    """A data set by its identifier on the hub, or from a local folder (saved by `save_to_disk`, Parquet, pictures).

    Its own splits "train" and "test" are used; it needs one Image column, and a ClassLabel column (`label`, or the only
    one). All images must have one size and mode (L or RGB). No code of the data set is run.

    Args:
        name: "hub:ID", or "hub:FOLDER".
        split: "train" or "test".
        places: where a relative FOLDER is looked for after the current folder.

    Returns:
        Dataset with images uint8 (N, C, H, W), levels 255; the stable index is the row of the split.

    Raises:
        UserError: the extra is not installed, the data set cannot be had or lacks the split or a column, or a row is
            damaged.

    >>> hub("hub:ylecun/mnist", "test")  # doctest: +SKIP
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"{name}: needs the package datasets: pip install 'gambeson[hub]'") from error
    splits = _splits(datasets, name, places)
    if split not in splits:
        raise UserError(f"{name}: has no split {split!r}; it has {', '.join(map(str, splits))}")
    rows = splits[split]
    picture, target = _columns(name, rows.features)
    classes = tuple(rows.features[target].names)
    values = list(rows[target])
    if None in values:
        raise UserError(f"{name}, {split}, row {values.index(None)}: column {target} is empty; correct the data")
    checked = labels(np.array(values, dtype=np.int64), len(classes), f"{name}, {split}, column {target}")
    stored = rows.cast_column(picture, datasets.Image(decode=False))[picture]
    images = decode(_content(f"{name}, {split}, row {row}", item) for row, item in enumerate(stored))
    return Dataset(name, split, images, checked, 255, classes, torch.arange(len(images)))


def _splits(datasets: Any, name: str, places: Sequence[Path]) -> dict[str, Any]:
    ident = name.partition(":")[2]
    local = [path for path in (Path(ident).expanduser(), *(place / ident for place in places)) if path.is_dir()]
    try:
        if local and (local[0] / "dataset_dict.json").is_file():
            found = datasets.load_from_disk(str(local[0]))
        else:
            found = datasets.load_dataset(str(local[0]) if local else ident)
    except Exception as error:  # the library raises its own kinds, the network's and Arrow's
        advice = "check the identifier and the network, or name a local folder"
        raise UserError(f"{name}: cannot be loaded ({type(error).__name__}: {error}); {advice}") from error
    return dict(found)


def _columns(name: str, features: dict[str, Any]) -> tuple[str, str]:
    kinds = {column: type(kind).__name__ for column, kind in features.items()}
    pictures = [column for column, kind in kinds.items() if kind == "Image"]
    targets = [column for column, kind in kinds.items() if kind == "ClassLabel"]
    if "label" in targets:
        targets = ["label"]
    if len(pictures) != 1 or len(targets) != 1:
        listed = ", ".join(f"{column} ({kind})" for column, kind in kinds.items())
        raise UserError(f"{name}: needs one Image column and one ClassLabel column (or `label`); it has {listed}")
    return pictures[0], targets[0]


def _content(where: str, item: dict[str, Any] | None) -> tuple[str, bytes]:
    if item is None:
        raise UserError(f"{where}: there is no picture; every row needs one")
    try:
        return where, item["bytes"] if item["bytes"] is not None else Path(item["path"]).read_bytes()
    except (OSError, TypeError) as error:
        raise UserError(f"{where}: the picture cannot be read ({error})") from error
