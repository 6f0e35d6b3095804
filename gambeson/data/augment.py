"""Random crops and flips, on tensors."""

from typing import Literal, get_args

import torch
from torch import Tensor

from gambeson.errors import UserError
from gambeson.types import Images

Padding = Literal["zeros", "reflect"]


def augment(images: Images, *, crop: int, flip: bool, generator: torch.Generator, padding: Padding = "zeros") -> Images:
    """Pad every image by `crop` pixels, crop it at a place of its own, and mirror it left-right with probability 1/2.

    `out[n, c, i, j] = padded[n, c, i + top_n, (W - 1 - j if mirrored_n else j) + left_n]`, top and left uniform on
    0..2 crop.

    Args:
        images: (N, C, H, W), any type.
        crop: padding in pixels, >= 0; 0 leaves the place alone. 4 is customary for CIFAR-10.
        flip: mirror or not. Leave it off for digits.
        generator: where the draws come from; they depend on it and on N only. The global one is not touched.
        padding: "zeros" (black) or "reflect" (the edge pixel is not repeated; then crop < H, W).

    Returns:
        A new tensor of the same shape, type and device; every value is a pixel of the same image or a zero.

    Raises:
        UserError: `crop` or `padding` is outside its range.

    >>> x = torch.arange(4.0).reshape(1, 1, 2, 2)
    >>> bool((augment(x, crop=0, flip=False, generator=torch.Generator()) == x).all())
    True

    He et al. 2016, Deep residual learning, section 4.2 (crop 4, zeros, flip).
    """
    count, channels, height, width = images.shape
    if padding not in get_args(Padding):
        raise UserError(f"padding is {padding!r}; it must be one of {', '.join(get_args(Padding))}")
    if crop < 0 or (padding == "reflect" and crop >= min(height, width)):
        limit = "" if padding == "zeros" else f" and < {min(height, width)} for reflect"
        raise UserError(f"crop is {crop}; it must be >= 0{limit}")
    device = generator.device
    top, left = torch.randint(0, 2 * crop + 1, (2, count, 1), generator=generator, device=device).to(images.device)
    mirrored = torch.randint(0, 2, (count, 1), generator=generator, device=device).to(images.device) * flip
    column = torch.arange(width, device=images.device)
    rows = torch.arange(height, device=images.device) + top - crop  # (N, H), coordinates in the image before padding
    columns = torch.where(mirrored == 1, width - 1 - column, column) + left - crop  # (N, W)
    source_rows, source_columns = _inside(rows, height), _inside(columns, width)
    image = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    cropped = images[image, channel, source_rows[:, None, :, None], source_columns[:, None, None, :]]
    if padding == "reflect" or crop == 0:
        return cropped
    black = (rows != source_rows)[:, None, :, None] | (columns != source_columns)[:, None, None, :]
    return cropped.masked_fill(black, 0)


def _inside(position: Tensor, size: int) -> Tensor:
    """Coordinates outside 0..size-1 are mirrored at the edge pixels; for padding wider than that, any pixel will do."""
    return ((size - 1) - ((size - 1) - position.abs()).abs()).clamp(0, size - 1)
