"""The only Monte Carlo loop: count the classes that a model gives to noisy copies of images.

Integer counts only: memory does not grow with `draws`. Noise comes in blocks of a fixed number of draws, each
generated whole from its own key, so that batch size, order, company and resuming cannot change which noise an image
sees. Several requests share calls of the served model, so that small requests do not waste large batches. The loop
knows nothing of stages; its callers give the selection and the estimation of an image different keys
(`gambeson.smoothed`).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gambeson.errors import UserError
from gambeson.inference import Form, Served
from gambeson.keys import Part, stream
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
    device = served.form.device
    total = torch.zeros(len(requests) * (classes + 1), dtype=torch.int64, device=device)
    images = served.form.zeros(tuple(requests[0].image.shape))
    with _ahead(_calls(requests, noise, served.form.batch), served.form) as start:
        coming = start()
        while (call := coming()) is not None:
            # The sum is an integer, cast once: nothing downstream sees the image or the noise alone.
            torch.div(torch.from_numpy(call.cells).to(device), noise.levels, out=images)
            coming = start()  # from here on `cells` is written again
            _add_votes(total, served(images)[: len(call.owner)], torch.from_numpy(call.owner), classes)
    table = total.reshape(len(requests), classes + 1)[:, :classes].cpu().numpy()
    return [Counts(row, request.draws) for row, request in zip(table, requests, strict=True)]


def to_lattice(pixels: Tensor, levels: int) -> Tensor:
    """Float pixels in [0, 1] to the nearest lattice integers (int32). The smoothed classifier rounds what it is
    given.
    """
    return (pixels.double() * levels).round().to(torch.int32)


class _Call(NamedTuple):
    cells: NDArray[np.signedinteger]  # noisy images (batch, C, H, W), rows beyond the owners' unspecified; one array
    owner: NDArray[np.int64]  # per row: the number of its request


def _calls(requests: Sequence[Request], noise: Lattice, batch: int) -> Iterator[_Call]:
    """All draws of all requests, one after another, in calls of `batch` rows; the last may have fewer owners."""
    cells = np.zeros((batch, *requests[0].image.shape), noise.first.dtype)
    owner = np.zeros(batch, np.int64)
    filled = 0
    for number, noisy in _blocks(requests, noise):
        while len(noisy):
            taken = min(batch - filled, len(noisy))
            cells[filled : filled + taken] = noisy[:taken]
            owner[filled : filled + taken] = number
            noisy, filled = noisy[taken:], filled + taken
            if filled == batch:
                yield _Call(cells, owner.copy())
                filled = 0
    if filled:
        yield _Call(cells, owner[:filled].copy())


@contextmanager
def _ahead(calls: Iterator[_Call], form: Form) -> Iterator[Callable[[], Callable[[], _Call | None]]]:
    """Starts the next call's noise; what that returns waits for it. A thread draws it while the model is busy, where
    the model leaves a core free: sharing one of its own would make all the others wait for it.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if form.device == "cpu" and form.threads >= cores:
        yield lambda: partial(next, calls, None)
    else:
        with ThreadPoolExecutor(1) as thread:
            yield lambda: thread.submit(next, calls, None).result


def _blocks(requests: Sequence[Request], noise: Lattice) -> Iterator[tuple[int, NDArray[np.signedinteger]]]:
    """Noisy images as lattice integers, (n, C, H, W) with n <= BLOCK, and the number of the request they are for."""
    for number, request in enumerate(requests):
        pixels = request.image.cpu().numpy()
        if pixels.min(initial=0) < 0 or pixels.max(initial=0) > noise.levels:
            raise UserError(f"the image has cells {pixels.min()}..{pixels.max()}; they must be in 0..{noise.levels}")
        pixels = pixels.astype(noise.first.dtype)
        at, end = request.first, request.first + request.draws
        while at < end:
            noisy = noise.sample((BLOCK, *pixels.shape), stream(*request.key, at // BLOCK))
            noisy = noisy[at % BLOCK :][: end - at]
            noisy += pixels
            at += len(noisy)
            yield number, noisy


def _add_votes(total: Tensor, logits: Tensor, owner: Tensor, classes: int) -> None:
    if logits.shape[1] != classes:
        raise UserError(f"the model gives {logits.shape[1]} logits, the data has {classes} classes; they must agree")
    winner = torch.where(torch.isfinite(logits).all(1), logits.argmax(1), classes)
    winner += owner.to(winner.device, non_blocking=True) * (classes + 1)
    total.scatter_add_(0, winner, torch.ones_like(winner))
