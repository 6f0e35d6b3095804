"""The only Monte Carlo loop: count the classes that a model gives to noisy copies of images.

Integer counts only: memory does not grow with `draws`. Noise comes in blocks of a fixed number of draws, each
generated whole from its own key, so that batch size, order, company and resuming cannot change which noise an image
sees. Several requests share calls of the served model, so that small requests do not waste large batches. The loop
knows nothing of stages; its callers give the selection and the estimation of an image different keys
(`gambeson.smoothed`).
"""

from collections.abc import Iterator, Sequence
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

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.classes + other.classes, self.draws + other.draws)


@dataclass(frozen=True, eq=False)
class Request:
    """Draws `first` .. `first + draws` of the stream of `key`, around one image.

    image: integers (C, H, W) on the lattice (pixel * levels; any integer type). key: what the draws are for; block b of
    the noise is generated from (*key, b).
    """

    image: Tensor
    key: tuple[Part, ...]
    draws: int
    first: int = 0

    def __post_init__(self) -> None:
        if self.image.is_floating_point() or self.image.dim() != 3:
            found = f"{self.image.dtype} {tuple(self.image.shape)}"
            raise UserError(f"the image is {found}; count wants lattice integers (C, H, W)")


def count(
    served: Served,
    image: Tensor,
    *,
    noise: Lattice,
    draws: int,
    key: tuple[Part, ...],
    classes: int,
    first: int = 0,
) -> Counts:
    """Class counts of noisy copies of one image: `counts` of one request.

    noise: its lattice is the image's. classes: the number of logits. Raises UserError for an image that is not on a
    lattice or a model whose number of logits differs.
    """
    return counts(served, [Request(image, key, draws, first)], noise=noise, classes=classes)[0]


def counts(served: Served, requests: Sequence[Request], *, noise: Lattice, classes: int) -> list[Counts]:
    """Class counts of every request; the requests share the calls of `served`, all images of one shape."""
    if not requests:
        return []
    device, batch = served.form.device, served.form.batch
    total = torch.zeros(len(requests) * (classes + 1), dtype=torch.int64, device=device)
    images = torch.zeros(batch, *requests[0].image.shape, device=device)
    owner = torch.zeros(batch, dtype=torch.int64)
    filled = 0
    for number, offsets in _pieces(requests, noise, batch):
        rows = slice(filled, filled + len(offsets))
        # The sum is an integer, cast once: nothing downstream sees the image or the noise alone.
        torch.div(torch.from_numpy(offsets).to(device), noise.levels, out=images[rows])
        owner[rows] = number
        filled += len(offsets)
        if filled == batch:
            _add_votes(total, served(images), owner, classes)
            filled = 0
    if filled:
        _add_votes(total, served(images)[:filled], owner[:filled], classes)
    table = total.reshape(len(requests), classes + 1)[:, :classes].cpu().numpy()
    return [Counts(row, request.draws) for row, request in zip(table, requests, strict=True)]


def to_lattice(pixels: Tensor, levels: int) -> Tensor:
    """Float pixels in [0, 1] to the nearest lattice integers (int32). The smoothed classifier rounds what it is
    given.
    """
    return (pixels.double() * levels).round().to(torch.int32)


def _pieces(requests: Sequence[Request], noise: Lattice, batch: int) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Noisy images as lattice integers, each piece of one request, cut so that pieces fill batches exactly."""
    room = batch
    for number, request in enumerate(requests):
        pixels = request.image.cpu().numpy().astype(np.int32)
        at, end = request.first, request.first + request.draws
        while at < end:
            block = noise.sample((BLOCK, *pixels.shape), generator(*request.key, at // BLOCK))
            block = block[at % BLOCK :][: end - at]
            block += pixels
            at += len(block)
            while len(block):
                yield number, block[:room]
                taken = min(room, len(block))
                block, room = block[taken:], room - taken or batch


def _add_votes(total: Tensor, logits: Tensor, owner: Tensor, classes: int) -> None:
    if logits.shape[1] != classes:
        raise UserError(f"the model gives {logits.shape[1]} logits, the data has {classes} classes; they must agree")
    winner = torch.where(torch.isfinite(logits).all(1), logits.argmax(1), classes)
    winner += owner.to(winner.device, non_blocking=True) * (classes + 1)
    total.scatter_add_(0, winner, torch.ones_like(winner))
