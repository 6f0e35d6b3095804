"""The only Monte Carlo loop: count the classes that a model gives to noisy copies of one image.

Integer counts only: memory does not grow with `draws`. Noise comes in blocks of a fixed number of draws, each
generated whole from its own key, so that batch size, order and resuming cannot change which noise an image sees.
`count` knows nothing of stages; its callers give the selection and the estimation of an image different keys
(`gambeson.smoothed`).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gambeson.errors import UserError
from gambeson.inference import Served
from gambeson.keys import Part, generator
from gambeson.noise import Lattice

BLOCK = 100


@dataclass(frozen=True, eq=False)
class Counts:
    """How often each class won; draws whose logits are not all finite count for no class."""

    classes: NDArray[np.int64]
    draws: int

    @property
    def nonfinite(self) -> int:
        return self.draws - int(self.classes.sum())


def count(served: Served, image: Tensor, *, noise: Lattice, draws: int, key: tuple[Part, ...], classes: int) -> Counts:
    """Class counts of `draws` noisy copies of `image`.

    image: integers (C, H, W) on the lattice of `noise` (pixel * levels; any integer type). key: what the draws are for;
    block b of the noise is generated from (*key, b). classes: the number of logits. Raises UserError for an image that
    is not on the lattice or a model whose number of logits differs.
    """
    if image.is_floating_point() or image.dim() != 3:
        raise UserError(f"the image is {image.dtype} {tuple(image.shape)}; count wants lattice integers (C, H, W)")
    batch, shape = served.form.batch, tuple(image.shape)
    pixels = image.cpu().numpy().astype(np.int32)
    total = torch.zeros(classes + 1, dtype=torch.int64, device=served.form.device)
    images = torch.zeros(batch, *shape, device=served.form.device)
    for start in range(0, draws, batch):
        rows = min(batch, draws - start)
        offsets = _blocks(noise, shape, start, rows, key)
        offsets += pixels
        # The sum is an integer, cast once: nothing downstream sees the image or the noise alone.
        torch.div(torch.from_numpy(offsets).to(images.device), noise.levels, out=images[:rows])
        _add_votes(total, served(images)[:rows], classes)
    return Counts(total[:classes].cpu().numpy(), draws)


def to_lattice(pixels: Tensor, levels: int) -> Tensor:
    """Float pixels in [0, 1] to the nearest lattice integers (int32). The smoothed classifier rounds what it is
    given.
    """
    return (pixels.double() * levels).round().to(torch.int32)


def _blocks(noise: Lattice, shape: tuple[int, ...], start: int, rows: int, key: tuple[Part, ...]) -> NDArray[np.int32]:
    """Draws start .. start + rows of the key's stream, cut from whole blocks."""
    first, last = start // BLOCK, (start + rows - 1) // BLOCK
    blocks = [noise.sample((BLOCK, *shape), generator(*key, block)) for block in range(first, last + 1)]
    joined = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
    return joined[start - first * BLOCK :][:rows]


def _add_votes(total: Tensor, logits: Tensor, classes: int) -> None:
    if logits.shape[1] != classes:
        raise UserError(f"the model gives {logits.shape[1]} logits, the data has {classes} classes; they must agree")
    winner = torch.where(torch.isfinite(logits).all(1), logits.argmax(1), classes)
    total.scatter_add_(0, winner, torch.ones_like(winner))
