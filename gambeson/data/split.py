"""Validation examples split off the training part by a seed; the test part is never touched."""

import torch

from gambeson.data.dataset import Dataset
from gambeson.errors import UserError
from gambeson.keys import generator


def split(train: Dataset, *, validation: int, seed: int) -> tuple[Dataset, Dataset]:
    """Partition a training set: its sorted stable indices are permuted by `seed`; the first `validation` are held out.

    Membership follows the stable index, so the order of the rows cannot change it; and a larger validation set contains
    the smaller one of the same seed.

    Args:
        train: the publisher's training part (N examples).
        validation: how many to hold out, 0..N-1.
        seed: any integer.

    Returns:
        (train, validation): disjoint, their union is `train`, rows in the order they had.

    Raises:
        UserError: `validation` is outside 0..N-1, or `train` is not a training part.

    >>> from gambeson.data.digits import digits
    >>> kept, held = split(digits("digits", "train"), validation=100, seed=0)
    >>> len(kept), len(held), held.split
    (1338, 100, 'validation')
    """
    if train.split != "train":
        raise UserError(f"{train.name}: only the train split may be divided, not {train.split!r}")
    if not 0 <= validation < len(train):
        raise UserError(
            f"{train.name}: validation is {validation}; it must be 0 to {len(train) - 1}, so that train has one"
        )
    order = torch.from_numpy(generator("validation split", seed).permutation(len(train)))
    held = torch.isin(train.indices, train.indices.sort().values[order[:validation]])
    kept, rest = train.subset(~held), train.subset(held)
    return kept, Dataset(rest.name, "validation", rest.images, rest.labels, rest.levels, rest.classes, rest.indices)
