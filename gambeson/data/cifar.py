"""CIFAR-10: Parquet in the hub's layout, the original binary batches, or the original Python batches."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gambeson.data.dataset import Dataset
from gambeson.data.decode import decode
from gambeson.data.labels import labels
from gambeson.data.locate import candidates, not_found
from gambeson.data.pickled import pickled
from gambeson.errors import UserError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = {"train": tuple(f"data_batch_{part}" for part in range(1, 6)), "test": ("test_batch",)}
SIZES = {"batch": 10_000, "train": 50_000, "test": 10_000}
SHAPE = (3, 32, 32)
FOLDERS = (".", "plain_text", "data", "cifar-10-batches-bin", "cifar-10-batches-py")
Reader = Callable[[Path], tuple[Tensor, np.ndarray]]


def cifar(name: str, split: str, places: Sequence[Path]) -> Dataset:
    """CIFAR-10 in any of its three published forms, which give the same rows in the same order: `x = images / 255`.

    Args:
        name: "cifar10".
        split: "train" (50,000) or "test" (10,000).
        places: folders to search: `<place>/cifar10`, then `<place>`, and in each the archives' own folders
            (cifar-10-batches-bin, cifar-10-batches-py, plain_text, data). Parquet first, then binary, then Python.

    Returns:
        Dataset with images uint8 (N, 3, 32, 32), levels 255; the stable index runs through data_batch_1..5.

    Raises:
        UserError: a part is missing, truncated, unreadable or of another shape, or a label is outside 0..9.

    >>> cifar("cifar10", "test", folders())  # doctest: +SKIP

    Krizhevsky 2009, Learning multiple layers of features from tiny images. Python batches are pickles: they are read by
    an unpickler that executes nothing (data/pickled.py).
    """
    for folder in (place / inner for place in candidates(name, places) for inner in FOLDERS):
        reader, files = _files(folder, split)
        if files:
            parts = [_part(reader, file) for file in files]
            images, targets = (torch.cat(column) for column in zip(*parts, strict=True))
            if len(images) != SIZES[split]:
                state = f"{len(images)} {split} images, {SIZES[split]} were published"
                raise UserError(f"{folder}: {state}; fetch them again")
            return Dataset(name, split, images, targets, 255, CLASSES, torch.arange(len(images)))
    raise not_found(name, f"{split}-*.parquet, {BATCHES[split][0]}.bin or {BATCHES[split][0]}", places)


def _files(folder: Path, split: str) -> tuple[Reader, list[Path]]:
    parquet = sorted(folder.glob(f"{split}-*-of-*.parquet"))
    if parquet:
        total = parquet[0].stem.rpartition("-")[2]
        wanted = [f"{split}-{part:05d}-of-{total}.parquet" for part in range(int(total) if total.isdecimal() else 0)]
        return _parquet, _complete(folder, wanted, [file.name for file in parquet])
    for reader, suffix in ((_binary, ".bin"), (_python, "")):
        wanted = [batch + suffix for batch in BATCHES[split]]
        present = [file for file in wanted if (folder / file).is_file()]
        if present:
            return reader, _complete(folder, wanted, present)
    return _binary, []


def _complete(folder: Path, wanted: list[str], present: list[str]) -> list[Path]:
    wrong = sorted(set(wanted) ^ set(present))
    if wrong:
        state = "is missing" if wrong[0] in wanted else "does not belong to the same set"
        raise UserError(f"{folder}: {wrong[0]} {state} (found {', '.join(present)}); put the published files there")
    return [folder / file for file in wanted]


def _part(reader: Reader, file: Path) -> tuple[Tensor, Tensor]:
    images, values = reader(file)
    if len(images) != len(values):
        raise UserError(f"{file}: {len(images)} images but {len(values)} labels; they must be equal: fetch it again")
    if tuple(images.shape[1:]) != SHAPE:
        raise UserError(f"{file}, row 0: the image is {tuple(images.shape[1:])}; CIFAR-10 is {SHAPE} (C, H, W)")
    return images, labels(values, len(CLASSES), str(file))


def _parquet(file: Path) -> tuple[Tensor, np.ndarray]:
    """Columns img = struct {bytes: PNG, path} and label = integer."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        table = ParquetFile(file).read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{file}: not a readable Parquet file ({error}); fetch it again") from error
    missing = [column for column in ("img", "label") if column not in table.column_names]
    if missing:
        raise UserError(f"{file}: column {missing[0]} is missing (it has {', '.join(table.column_names)})")
    kinds = (table.schema.field("img").type, table.schema.field("label").type)
    if not (pa.types.is_struct(kinds[0]) and kinds[0].get_field_index("bytes") >= 0 and pa.types.is_integer(kinds[1])):
        raise UserError(f"{file}: img is {kinds[0]} and label is {kinds[1]}; wanted: struct with bytes, and integer")
    pictures = table["img"].combine_chunks().field("bytes").to_pylist()
    for column, values in (("img", pictures), ("label", table["label"].to_pylist())):
        if None in values:
            raise UserError(f"{file}, row {values.index(None)}: {column} is empty; fetch it again")
    return decode((f"{file}, row {row}", content) for row, content in enumerate(pictures)), table["label"].to_numpy()


def _binary(file: Path) -> tuple[Tensor, np.ndarray]:
    """Rows of one label byte and 3,072 pixel bytes (C, H, W)."""
    size, rows = 1 + int(np.prod(SHAPE)), SIZES["batch"]
    try:
        content = np.fromfile(file, np.uint8)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error})") from error
    if content.size != rows * size:
        state = f"{rows} rows of {size} bytes were published, found {content.size // size} rows ({content.size} bytes)"
        raise UserError(f"{file}: truncated or another file: {state}; fetch it again")
    table = content.reshape(rows, size)
    return torch.from_numpy(table[:, 1:].reshape(rows, *SHAPE).copy()), table[:, 0]


def _python(file: Path) -> tuple[Tensor, np.ndarray]:
    """A pickled dict: data uint8 (rows, 3072) and labels, a list."""
    batch, width = pickled(file), int(np.prod(SHAPE))
    data, values = batch.get(b"data"), batch.get(b"labels")
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != width or not isinstance(values, list):
        shape = data.shape if isinstance(data, np.ndarray) else "not an array"
        found = f"data is {shape}, labels is a {type(values).__name__}"
        raise UserError(f"{file}: {found}; wanted (rows, {width}) and a list: fetch it again")
    for row, value in enumerate(values):
        if type(value) is not int:
            raise UserError(f"{file}, row {row}: the label is {value!r}; it must be an integer 0..{len(CLASSES) - 1}")
    return torch.from_numpy(data.reshape(-1, *SHAPE).copy()), np.array(values)
