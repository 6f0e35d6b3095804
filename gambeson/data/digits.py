"""The embedded digits: real data that comes with the installation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gambeson.data.dataset import Dataset

FILE = Path(__file__).parent / "digits.npz"


def digits(name: str, split: str, places: Sequence[Path] = ()) -> Dataset:
    """The 1,797 UCI handwritten digits, 8x8, 16 grey levels: `x = images / 16`.

    The publisher's order gives the stable index 0..1796. The split is fixed and ours, because the publisher's own
    training part is not in the package: one of every five consecutive images is test, the first of the first five, the
    second of the next, and so on (the digits come in runs of 0 to 9, of which every fifth would be a 0 or a 5). 359
    images are test, 1,438 train.

    Args:
        name: "digits".
        split: "train" or "test".
        places: not used; the file is part of the package.

    Returns:
        Dataset with images uint8 (N, 1, 8, 8), values 0..16, ten classes.

    >>> data = digits("digits", "test")
    >>> len(data), data.levels, int(data.indices[1])
    (359, 16, 6)

    Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI (CC BY 4.0, see DIGITS-LICENSE).
    """
    with np.load(FILE, allow_pickle=False) as stored:
        images, labels = torch.from_numpy(stored["images"])[:, None], torch.from_numpy(stored["labels"]).long()
    indices = torch.arange(len(images))
    whole = Dataset(name, split, images, labels, 16, tuple("0123456789"), indices)
    return whole.subset((indices % 5 == indices // 5 % 5) == (split == "test"))
