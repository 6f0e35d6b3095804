"""The only Monte Carlo loop: count the classes that a model gives to noisy copies of images.

Integer counts only (of classes, of scores in bins): memory does not grow with `draws`. Noise comes in blocks of a
fixed number of draws, each generated whole from its own key, so that batch size, order, company and resuming cannot
change which noise an image sees. Several requests share calls of the served model, so that small requests do not waste
large batches. Where the row of a call changes the logits, a request has calls of its own and draw j is in row j mod
batch, always, so that whole calls fill all rows equally often. The loop knows nothing of stages; its callers give the
selection and the estimation of an image different keys (`gambeson.smoothed`).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gambeson.errors import UserError
from gambeson.inference import Form, Served
from gambeson.keys import Part
from gambeson.machine import cores
from gambeson.noise import Lattice
from gambeson.scores import score_bins_of
from gambeson.stats import score_bins

BLOCK = 100
# So many values of noise are drawn at once, for several calls of a small model, and their answers are counted together:
# code and tables that a call drives out of the caches come back once for all of them.
BURST = 2**21


@dataclass(frozen=True, eq=False)
class Counts:
    """How often each class won; draws whose logits are not all finite count for no class.

    scores: how often the score (softmax) of the class that a request named fell into each of `score_bins`; the score of
    a draw without finite logits is 0.
    """

    classes: NDArray[np.int64]
    draws: int
    scores: NDArray[np.int64] | None = None

    @property
    def nonfinite(self) -> int:
        return self.draws - int(self.classes.sum())

    def __add__(self, other: "Counts") -> "Counts":
        scores = None if self.scores is None or other.scores is None else self.scores + other.scores
        return Counts(self.classes + other.classes, self.draws + other.draws, scores)


@dataclass(frozen=True, eq=False)
class Request:
    """Draws `first` .. `first + draws` of the stream of `key`, around one image.

    image: integers (C, H, W) on the lattice (pixel * levels; any integer type). key: what the draws are for; block b of
    the noise is generated from (*key, b). score: the class whose scores are counted beside the votes.
    """

    image: Tensor
    key: tuple[Part, ...]
    draws: int
    first: int = 0
    score: int | None = None

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


def counts(
    served: Served,
    requests: Sequence[Request],
    *,
    noise: Lattice,
    classes: int,
    over: Callable[[], bool] = lambda: False,
) -> list[Counts]:
    """Class counts of every request, and score counts of those that name a class; the requests share the calls of
    `served`, all images of one shape.

    over: asked after every call; once it is true, the rest is left: the last requests have fewer draws than they ask
    for, or none. Requests for that rest alone, in the same order, see the very calls that were left.
    """
    if not requests:
        return []
    device, batch = served.form.device, served.form.batch
    total = torch.zeros(len(requests) * (classes + 1), dtype=torch.int64, device=device)
    drawn = np.zeros(len(requests), np.int64)
    wanted = any(request.score is not None for request in requests)
    scores = torch.zeros((len(requests) if wanted else 0, score_bins.BINS), dtype=torch.int64, device=device)
    named = torch.tensor([request.score or 0 for request in requests], device=device)
    calls = min(BURST // (batch * requests[0].image.numel()), sum(request.draws for request in requests) // batch)
    images = served.form.zeros(tuple(requests[0].image.shape), max(1, calls))
    exact = images if images.dtype == torch.float32 else torch.zeros_like(images, dtype=torch.float32)
    bursts = _bursts(requests, noise, len(images), batch if served.positions == "mixture" else None)
    stop = False
    with served.form.threads_set(), _ahead(bursts, served.form) as start:
        coming = start()
        while not stop and (burst := coming()) is not None:
            # The sum is an integer, cast once: nothing downstream sees the image or the noise alone.
            exact.copy_(torch.from_numpy(burst.cells).to(device))
            images.copy_(exact.div_(noise.unit))
            coming = start()  # from here on `cells` is written again
            answers, end = [], burst.first + len(burst.owner)
            for at in range(0, end, batch):
                answers.append(served(images[at : at + batch]))
                if stop := over():
                    break
            logits = torch.cat(answers)[burst.first : end]
            known = burst.owner[: len(logits)]
            owner = torch.from_numpy(known).to(device, non_blocking=True)
            _add_votes(total, logits, owner, classes)
            if wanted:
                _add_scores(scores, logits, owner, named)
            drawn += np.bincount(known, minlength=len(requests))
    table = total.reshape(len(requests), classes + 1)[:, :classes].cpu().numpy()
    found = [Counts(row, draws) for row, draws in zip(table, drawn.tolist(), strict=True)]
    if not wanted:
        return found
    rows = zip(found, requests, scores.cpu().numpy(), strict=True)
    return [one if request.score is None else replace(one, scores=row) for one, request, row in rows]


def to_lattice(pixels: Tensor, levels: int) -> Tensor:
    """Float pixels in [0, 1] to the nearest lattice integers (int32). The smoothed classifier rounds what it is
    given.
    """
    return (pixels.double() * levels).round().to(torch.int32)


class _Burst(NamedTuple):
    cells: NDArray[np.signedinteger]  # noisy images (rows, C, H, W), beyond the owners' unspecified; one array
    owner: NDArray[np.int64]  # per row from `first` on: the number of its request
    first: int


def _bursts(requests: Sequence[Request], noise: Lattice, rows: int, apart: int | None) -> Iterator[_Burst]:
    """All draws of all requests, one after another, so many rows at a time, of which some may have no owner.

    apart: the rows of a call, where no two requests may be in one, and draw j is in row j mod `apart`.
    """
    channels, height, width = requests[0].image.shape
    # As the noise is drawn and most models read: the channels of a pixel side by side.
    cells = np.zeros((rows, height, width, channels), noise.dtype).transpose(0, 3, 1, 2)
    owner = np.zeros(rows, np.int64)
    first = filled = 0
    last = -1
    for number, noisy in _blocks(requests, noise):
        if apart and number != last:
            if filled > first:
                yield _Burst(cells, owner[first:filled].copy(), first)
            last, first = number, requests[number].first % apart
            filled = first
        while len(noisy):
            taken = min(rows - filled, len(noisy))
            cells[filled : filled + taken] = noisy[:taken]
            owner[filled : filled + taken] = number
            noisy, filled = noisy[taken:], filled + taken
            if filled == rows:
                yield _Burst(cells, owner[first:].copy(), first)
                first = filled = 0
    if filled > first:
        yield _Burst(cells, owner[first:filled].copy(), first)


@contextmanager
def _ahead(bursts: Iterator[_Burst], form: Form) -> Iterator[Callable[[], Callable[[], _Burst | None]]]:
    """Starts the next burst's noise; what that returns waits for it. A thread draws it while the model is busy, where
    the model leaves a core free: sharing one of its own would make all the others wait for it.
    """
    if form.device == "cpu" and form.threads >= cores():
        yield lambda: partial(next, bursts, None)
    else:
        with ThreadPoolExecutor(1) as thread:
            yield lambda: thread.submit(next, bursts, None).result


def _blocks(requests: Sequence[Request], noise: Lattice) -> Iterator[tuple[int, NDArray[np.signedinteger]]]:
    """Noisy images as lattice integers, (n, C, H, W) with n <= BLOCK, and the number of the request they are for."""
    for number, request in enumerate(requests):
        pixels = request.image.permute(1, 2, 0).cpu().numpy()
        if pixels.min(initial=0) < 0 or pixels.max(initial=0) > noise.levels:
            raise UserError(f"the image has cells {pixels.min()}..{pixels.max()}; they must be in 0..{noise.levels}")
        pixels = pixels.astype(noise.dtype, order="C").transpose(2, 0, 1)
        at, end = request.first, request.first + request.draws
        while at < end:
            noisy = noise.block(pixels, request.key, at // BLOCK, BLOCK)[at % BLOCK :][: end - at]
            at += len(noisy)
            yield number, noisy


def _add_votes(total: Tensor, logits: Tensor, owner: Tensor, classes: int) -> None:
    if logits.shape[1] != classes:
        raise UserError(f"the model gives {logits.shape[1]} logits, the data has {classes} classes; they must agree")
    winner = torch.where(torch.isfinite(logits).all(1), logits.argmax(1), classes)
    winner += owner * (classes + 1)
    total.scatter_add_(0, winner, torch.ones_like(winner))


def _add_scores(total: Tensor, logits: Tensor, owner: Tensor, named: Tensor) -> None:
    """Count the score of every row's named class; rows of requests that name none are counted and never read."""
    place = score_bins_of(logits, named[owner]) + owner * score_bins.BINS
    total.view(-1).scatter_add_(0, place, torch.ones_like(place))
