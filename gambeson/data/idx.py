"""MNIST and Fashion-MNIST: idx files, gzip or plain."""

import hashlib
import struct
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
import torch

from gambeson.data.dataset import Dataset
from gambeson.data.labels import labels
from gambeson.data.locate import candidates, not_found
from gambeson.errors import UserError

CLASSES = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": (
        "t-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
}  # fmt: skip
STEMS = {"train": "train", "test": "t10k"}
# md5 of the published labels (the bytes after the header): the file names are the same, so one set can lie in the
# place of the other
KNOWN_LABELS = {
    "mnist": {"e86ee40d66677c011a9abda399ec8c4d", "073c3904dfbd3e141ff8aa01cfde6b15"},
    "fashion-mnist": {"3236f6424fc25388b2834cb19942cf7e", "8dea97a4e78c1bd1b5a6e8efbb870b6e"},
}


def idx(name: str, split: str, places: Sequence[Path]) -> Dataset:
    """MNIST or Fashion-MNIST from the publisher's four idx files: `x = images / 255`.

    Args:
        name: "mnist" or "fashion-mnist".
        split: "train" (60,000) or "test" (10,000); files train-*-ubyte or t10k-*-ubyte, with or without .gz.
        places: folders to search: `<place>/<name>/FILE`, then `<place>/FILE`.

    Returns:
        Dataset with images uint8 (N, 1, 28, 28), levels 255; the stable index is the position in the file.

    Raises:
        UserError: a file is missing, truncated, not idx, or has a label outside 0..9; file and row are named.

    >>> idx("mnist", "test", folders())  # doctest: +SKIP

    LeCun, Cortes, Burges: The MNIST database of handwritten digits. Xiao, Rasul, Vollgraf 2017: Fashion-MNIST.
    """
    stem = STEMS[split]
    image_file, label_file = (_find(name, f"{stem}-{kind}-ubyte", places) for kind in ("images-idx3", "labels-idx1"))
    images, values = _read(image_file, 3), _read(label_file, 1)
    if len(images) != len(values):
        raise UserError(
            f"{image_file} has {len(images)} images but {label_file} has {len(values)} labels; they must agree"
        )
    digest = hashlib.md5(values.tobytes(), usedforsecurity=False).hexdigest()
    for other, known in KNOWN_LABELS.items():
        if other != name and digest in known:
            raise UserError(
                f"{label_file} belongs to {other}, not to {name}; put the files of {name} in a folder {name}/"
            )
    classes = CLASSES[name]
    pixels, targets = torch.from_numpy(images)[:, None], labels(values, len(classes), str(label_file))
    return Dataset(name, split, pixels, targets, 255, classes, torch.arange(len(pixels)))


def _find(name: str, file: str, places: Sequence[Path]) -> Path:
    for folder in candidates(name, places):
        for path in (folder / f"{file}.gz", folder / file):
            if path.is_file():
                return path
    raise not_found(name, f"{file}.gz (or {file})", places)


def _read(path: Path, dims: int) -> np.ndarray:
    """The array in an idx file of unsigned bytes: magic 00 00 08 dims, then big-endian sizes, then the bytes."""
    content, whole = _content(path)
    header = 4 * (dims + 1)
    if content[:4] != bytes((0, 0, 8, dims)) or len(content) < header:
        raise UserError(
            f"{path}: starts with {content[:4].hex(' ') or 'nothing'}, not with the idx magic 00 00 08 0{dims} and "
            f"{dims} sizes; it is another file or damaged: fetch it again"
        )
    rows, *shape = struct.unpack(f">{dims}I", content[4:header])
    size = prod(shape)
    found = len(content) - header
    if not whole or found != rows * size:
        state = "truncated" if found < rows * size or not whole else "too long"
        seen = f"{found // max(size, 1)} rows ({found} bytes)"
        raise UserError(f"{path}: {state}: the header says {rows} rows of {size} bytes, found {seen}; fetch it again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(rows, *shape).copy()  # torch wants writable memory


def _content(path: Path) -> tuple[bytes, bool]:
    """The uncompressed bytes, and whether the file was whole; what a truncated gzip still holds is counted."""
    try:
        raw = path.read_bytes()
        if path.suffix != ".gz":
            return raw, True
        parts, finished = [], False
        while raw:
            member = zlib.decompressobj(wbits=31)
            parts.append(member.decompress(raw))
            raw, finished = member.unused_data, member.eof
        return b"".join(parts), finished
    except (OSError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error}); fetch it again") from error
