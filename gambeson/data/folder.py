"""A folder of pictures, one sub-folder for every class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gambeson.data.dataset import Dataset
from gambeson.data.decode import decode
from gambeson.data.labels import labels
from gambeson.data.locate import resolve
from gambeson.errors import UserError


def folder(name: str, split: str, places: Sequence[Path] = ()) -> Dataset:
    """Labelled pictures: `PATH/train/CLASS/FILE` and `PATH/test/CLASS/FILE`; or `PATH/CLASS/FILE`, which is a test set.

    A folder without train/ is only ever a test set, so that no image is trained on and tested on by mistake. Classes
    are the sub-folders of train/ (of the test set, when there is no train/) in code-point order. The stable index
    counts the files in the order (class, file name): adding a file moves those after it. Hidden files are skipped.

    Args:
        name: "folder:PATH".
        split: "train" or "test".
        places: where a relative PATH is looked for after the current folder.

    Returns:
        Dataset with images uint8 (N, C, H, W), C = 1 (mode L) or 3 (RGB), levels 255.

    Raises:
        UserError: no such folder or split, a class of test/ that train/ lacks, a file that is not a picture, or one of
            another size or mode; the file is named.

    >>> folder("folder:photos", "test")  # doctest: +SKIP
    """
    root = resolve(name, places)
    divided = [part for part in ("train", "test") if (root / part).is_dir()]
    if split not in (divided or ["test"]):
        found = f"only {divided[0]}/" if divided else "no train/ or test/ (the whole folder is then the test set)"
        raise UserError(f"{root}: there is no {split} split; it has {found}. Put the classes' folders into {split}/")
    top = root / split if divided else root
    source = root / "train" if "train" in divided else top
    classes = [path.name for path in _listed(source)]
    strange = [path for path in _listed(top) if not path.is_dir() or path.name not in classes]
    if strange or not classes:
        where = strange[0] if strange else top
        known = ", ".join(classes) or "none"
        raise UserError(f"{where}: not the folder of a class; the classes are the sub-folders of {source}: {known}")
    files = [(classes.index(part.name), file) for part in _listed(top) for file in _listed(part)]
    if not files:
        raise UserError(f"{top}: holds no pictures; put them into {top}/CLASS/")
    images = decode((str(file), _read(file)) for _, file in files)
    targets = labels(np.array([label for label, _ in files]), len(classes), str(top))
    return Dataset(name, split, images, targets, 255, tuple(classes), torch.arange(len(images)))


def _listed(path: Path) -> list[Path]:
    return sorted((entry for entry in path.iterdir() if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error}); a class's folder holds pictures only") from error
