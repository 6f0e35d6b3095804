"""Labels are checked once, where the file and the row are still known."""

import numpy as np
import torch

from gambeson.errors import UserError
from gambeson.types import Labels


def labels(values: np.ndarray, classes: int, where: str) -> Labels:
    """The labels as int64 (N,), each in 0..classes-1.

    Args:
        values: integers (N,).
        classes: how many classes there are.
        where: the file (and column or key), for the message.

    Raises:
        UserError: not integers, or a label is outside the range; `where` and the row are named.

    >>> labels(np.array([2, 0], dtype=np.uint8), 3, "file")
    tensor([2, 0])
    """
    if not np.issubdtype(values.dtype, np.integer):
        raise UserError(f"{where}: labels are {values.dtype}; they must be integers 0..{classes - 1}")
    outside = (values < 0) | (values >= classes)
    if outside.any():
        row = int(outside.argmax())
        raise UserError(f"{where}, row {row}: label {values[row]} is outside 0..{classes - 1}; correct the data")
    return torch.from_numpy(values.astype(np.int64))
