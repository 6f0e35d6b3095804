"""Arrays of images and labels in one .npz file."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gambeson.data.dataset import Dataset
from gambeson.data.labels import labels
from gambeson.data.locate import resolve
from gambeson.errors import UserError

PAIRS = {"train": (("x_train", "y_train"),), "test": (("x_test", "y_test"), ("x", "y"), ("images", "labels"))}


def npz(name: str, split: str, places: Sequence[Path] = ()) -> Dataset:
    """The arrays x_train, y_train, x_test, y_test; or x, y (or images, labels), which are a test set.

    Images are uint8 (`x = images / 255`, levels 255) or float in [0, 1] (levels None: not on a lattice), of shape
    (N, H, W), (N, C, H, W) or (N, H, W, C) with C = 1 or 3. C is the axis whose length is 1 or 3; when both could be
    it, the file is refused. Labels are integers (N,) or (N, 1). An optional array `classes` of strings names the
    classes; otherwise they are 0..largest label in the file. A pair x, y is only ever a test set.

    Args:
        name: "npz:PATH".
        split: "train" or "test".
        places: where a relative PATH is looked for after the current folder.

    Returns:
        Dataset; the stable index is the row.

    Raises:
        UserError: an array is missing, pickled, damaged, of another shape, or has a NaN, a value outside [0, 1] or a
            label outside its range; file, array and row are named.

    >>> npz("npz:images.npz", "test")  # doctest: +SKIP
    """
    path = resolve(name, places)
    arrays = _read(path)
    pair = next((pair for pair in PAIRS[split] if pair[0] in arrays), None)
    if pair is None or pair[1] not in arrays:
        wanted = " or ".join(", ".join(pair) for pair in PAIRS[split])
        found = f"it has {', '.join(arrays) or 'nothing'}; x, y alone is a test set"
        raise UserError(f"{path}: the {split} split needs the arrays {wanted}; {found}")
    images, targets = arrays[pair[0]], _flat(arrays[pair[1]])
    if images.shape[:1] != targets.shape:
        shapes = f"{pair[0]} is {images.shape} but {pair[1]} is {targets.shape}"
        raise UserError(f"{path}: {shapes}; one label for every image is needed")
    classes = _classes(path, arrays)
    pixels = _pixels(images, f"{path}, array {pair[0]}")
    checked = labels(targets, len(classes), f"{path}, array {pair[1]}")
    levels = 255 if pixels.dtype == torch.uint8 else None
    return Dataset(name, split, pixels, checked, levels, classes, torch.arange(len(pixels)))


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        AttributeError,
        TypeError,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:
        advice = "write it with numpy.savez(path, x=..., y=...), without object arrays"
        raise UserError(f"{path}: not a readable .npz file of plain arrays ({error}); {advice}") from error


def _flat(targets: np.ndarray) -> np.ndarray:
    return targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets


def _classes(path: Path, arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
    if "classes" in arrays:
        return tuple(str(word) for word in arrays["classes"].ravel())
    keys = {key for pairs in PAIRS.values() for _, key in pairs}
    stored = [values for key, values in arrays.items() if key in keys and values.size]
    wrong = [str(values.dtype) for values in stored if values.dtype.kind not in "iu"]
    if wrong or not stored:
        raise UserError(f"{path}: labels are {wrong[0] if wrong else 'empty'}; they must be integers from 0")
    return tuple(str(label) for label in range(int(max(values.max() for values in stored)) + 1))


def _pixels(images: np.ndarray, where: str) -> torch.Tensor:
    """As (N, C, H, W): uint8, or float32 checked to lie in [0, 1]."""
    if images.ndim == 3:
        images = images[:, None]
    axes = [axis for axis in (1, 3) if images.ndim == 4 and images.shape[axis] in (1, 3)]
    if len(axes) != 1:
        state = "could be NCHW or NHWC" if axes else "is not (N, H, W), (N, C, H, W) or (N, H, W, C) with C = 1 or 3"
        raise UserError(f"{where}: shape {images.shape} {state}; store (N, C, H, W)")
    if axes == [3]:
        images = images.transpose(0, 3, 1, 2)
    if images.dtype.kind != "f" and images.dtype != np.uint8:
        raise UserError(f"{where}: type {images.dtype}; images must be uint8 0..255, or float in [0, 1]")
    if images.dtype.kind == "f":
        wrong = ~((images >= 0) & (images <= 1)).reshape(len(images), -1).all(1)  # NaN fails both
        if wrong.any():
            row = int(wrong.argmax())
            low, high = images[row].min(), images[row].max()
            rule = "floats must lie in [0, 1]: divide by 255, or store uint8"
            if not np.isfinite(images[row]).all():
                raise UserError(
                    f"{where}, row {row}: a value is NaN or infinite; floats must lie in [0, 1]: repair the file"
                )
            raise UserError(f"{where}, row {row}: values {low} to {high}; {rule}")
        images = images.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(images))
