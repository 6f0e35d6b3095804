"""Any iterable of (x, y) as a Dataset: what `train`, `attacked` and `certified` take beside our own sources."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gambeson.data.dataset import Dataset
from gambeson.errors import UserError

Pairs = Dataset | Iterable[tuple[Any, Any]]


def examples(data: Pairs, name: str = "examples") -> Dataset:
    """A Dataset as it is; pairs of images and classes gathered into one, with indices that count from 0.

    data: each item is one float image (C, H, W) in [0, 1] with an integer class, or a batch (N, C, H, W) with (N,)
    classes; tensors, or what numpy makes an array of. All images have one shape. Raises UserError that names the item.

    >>> len(examples([(torch.rand(1, 2, 2), 0), (torch.rand(3, 1, 2, 2), torch.tensor([1, 0, 1]))]))
    4
    """
    if isinstance(data, Dataset):
        return data
    images: list[Tensor] = []
    labels: list[Tensor] = []
    for number, pair in enumerate(data):
        x, y = _pair(number, pair)
        if images and x.shape[1:] != images[0].shape[1:]:
            shapes = f"{tuple(x.shape[1:])}, earlier ones {tuple(images[0].shape[1:])}"
            raise UserError(f"item {number} of the data has images of shape {shapes}; all must have one shape")
        images.append(x)
        labels.append(y)
    if not images:
        raise UserError("the data holds no example; give an iterable of (x, y) that is not used up")
    x, y = torch.cat(images), torch.cat(labels)
    if (broken := ~x.isfinite().flatten(1).all(1)).any():
        raise UserError(f"image {int(broken.int().argmax())} holds NaN or infinity; repair the data it comes from")
    if x.min() < 0 or x.max() > 1:
        raise UserError(
            f"images reach from {x.min():.6g} to {x.max():.6g}; they must be in [0, 1]: divide by 255 (clamp what is "
            "outside by rounding only), and let the model's first layer normalise (--mean/--std)"
        )
    classes = tuple(str(label) for label in range(max(2, int(y.max()) + 1)))
    return Dataset(name, "test", x, y, None, classes, torch.arange(len(x)))


def _pair(number: int, pair: Any) -> tuple[Tensor, Tensor]:
    """One item as a batch: float32 (N, C, H, W) and int64 (N,), on the CPU."""
    try:
        x, y = (torch.as_tensor(part if isinstance(part, Tensor) else np.asarray(part)) for part in pair)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"item {number} of the data is not a pair (image, class) of numbers: {error}") from None
    x, y = (x[None], y.reshape(-1)) if x.ndim == 3 else (x, y)
    if x.ndim != 4 or y.ndim != 1 or len(x) != len(y) or not x.is_floating_point() or y.is_floating_point():
        raise UserError(
            f"item {number} of the data has images {x.dtype} {tuple(x.shape)} and classes {y.dtype} {tuple(y.shape)}; "
            "give float images (C, H, W) or (N, C, H, W) in [0, 1] (of bytes: x.float() / 255) with integer classes "
            "() or (N,): class indices, not one-hot rows"
        )
    return x.detach().cpu().float(), y.detach().cpu().long()
