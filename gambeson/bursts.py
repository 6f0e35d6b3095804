"""Noisy images for the sampling loop, drawn in bursts while the model is busy.

Noise comes in blocks of a fixed number of draws, each generated whole from its own key, so that batch size, order,
company, threads and resuming cannot change which noise an image sees.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gambeson.errors import UserError
from gambeson.inference import Form
from gambeson.keys import Part
from gambeson.machine import cores
from gambeson.noise import Lattice

BLOCK = 100
# So many values of noise are drawn at once, for several calls of a small model, and their answers are counted together:
# code and tables that a call drives out of the caches come back once for all of them.
BURST = 2**21
MOST_THREADS = 8  # that draw at a time: each holds a block of noise

Noisy = NDArray[np.signedinteger]  # images (n, C, H, W) as lattice integers
Wanted = tuple[int, slice]  # the number of a request, and which rows of a block are for it
Block = tuple[Wanted, Callable[[], Noisy]]
Drawn = Callable[[Iterable[Block]], Iterator[tuple[Wanted, Noisy]]]


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


class Burst(NamedTuple):
    """Noisy images, and the numbers of the requests that they are for."""

    cells: NDArray[np.signedinteger]  # noisy images (rows, C, H, W), beyond the owners' unspecified; one array
    owner: NDArray[np.int64]  # per row from `first` on: the number of its request
    first: int


def calls_at_once(requests: Sequence[Request], batch: int) -> int:
    """How many calls of the model a burst is for, at least 1."""
    total = sum(request.draws for request in requests)
    return max(1, min(total, BURST // requests[0].image.numel()) // batch)


@contextmanager
def ahead(
    requests: Sequence[Request], noise: Lattice, form: Form, *, calls: int, apart: bool
) -> Iterator[Callable[[], Callable[[], Burst | None]]]:
    """All draws of all requests, in bursts of so many calls. What this gives starts the next burst, which is written
    over the one before; what that returns waits for it, and is None after the last.

    It is drawn while the model is busy, by the cores that the model leaves free: sharing one of its own would make all
    the others wait for it. apart: no two requests are in one call, and draw j is in row j mod batch.
    """
    free = min(cores() - (form.threads if form.device == "cpu" else 0), MOST_THREADS)
    rows, one_call = calls * form.batch, form.batch if apart else None
    if free < 1:
        bursts = _bursts(requests, noise, rows, one_call, _drawn)
        yield lambda: partial(next, bursts, None)
        return
    with ThreadPoolExecutor(free) as drawing, ThreadPoolExecutor(1) as thread:
        bursts = _bursts(requests, noise, rows, one_call, partial(_drawn_by, drawing, free))
        yield lambda: thread.submit(next, bursts, None).result


def _bursts(requests: Sequence[Request], noise: Lattice, rows: int, apart: int | None, drawn: Drawn) -> Iterator[Burst]:
    """All draws of all requests, one after another, so many rows at a time, of which some may have no owner.

    apart: the rows of a call, where no two requests may be in one, and draw j is in row j mod `apart`.
    """
    channels, height, width = requests[0].image.shape
    # As the noise is drawn and most models read: the channels of a pixel side by side.
    cells = np.zeros((rows, height, width, channels), noise.dtype).transpose(0, 3, 1, 2)
    owner = np.zeros(rows, np.int64)
    first = filled = 0
    last = -1
    for (number, some), noisy in drawn(_blocks(requests, noise)):
        noisy = noisy[some]
        if apart and number != last:
            if filled > first:
                yield Burst(cells, owner[first:filled].copy(), first)
            last, first = number, requests[number].first % apart
            filled = first
        while len(noisy):
            taken = min(rows - filled, len(noisy))
            cells[filled : filled + taken] = noisy[:taken]
            owner[filled : filled + taken] = number
            noisy, filled = noisy[taken:], filled + taken
            if filled == rows:
                yield Burst(cells, owner[first:].copy(), first)
                first = filled = 0
    if filled > first:
        yield Burst(cells, owner[first:filled].copy(), first)


def _blocks(requests: Sequence[Request], noise: Lattice) -> Iterator[Block]:
    """All blocks of noise that are wanted, in order, still to be drawn."""
    for number, request in enumerate(requests):
        pixels = request.image.permute(1, 2, 0).cpu().numpy()
        if pixels.min(initial=0) < 0 or pixels.max(initial=0) > noise.levels:
            raise UserError(f"the image has cells {pixels.min()}..{pixels.max()}; they must be in 0..{noise.levels}")
        pixels = pixels.astype(noise.dtype, order="C").transpose(2, 0, 1)
        at, end = request.first, request.first + request.draws
        while at < end:
            some = slice(at % BLOCK, min(BLOCK, at % BLOCK + end - at))
            yield (number, some), partial(noise.block, pixels, request.key, at // BLOCK, BLOCK)
            at += some.stop - some.start


def _drawn(blocks: Iterable[Block]) -> Iterator[tuple[Wanted, Noisy]]:
    return ((wanted, draw()) for wanted, draw in blocks)


def _drawn_by(threads: Executor, ahead: int, blocks: Iterable[Block]) -> Iterator[tuple[Wanted, Noisy]]:
    """In the order of the blocks, so many of them at a time."""
    waiting: deque[tuple[Wanted, Future[Noisy]]] = deque()
    for wanted, draw in blocks:
        waiting.append((wanted, threads.submit(draw)))
        if len(waiting) > ahead:
            first, noisy = waiting.popleft()
            yield first, noisy.result()
    for wanted, noisy in waiting:
        yield wanted, noisy.result()
