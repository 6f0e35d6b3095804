"""Noise that is added to the image, drawn on the pixel lattice.

A certificate assumes real-valued noise; floating-point `x + noise` is something else, and leaks x (Voracek & Hein
2023; Jin et al. 2022). Here an image on the lattice of its data source (k / levels, k = 0..levels) gets *integer*
noise: cell j has the probability that the real noise falls within half a lattice step of j / levels, so that
`image + noise` is the real-valued smoothing followed by rounding. Rounding belongs to the base classifier, hence
every certificate holds for it as it stands. What the sampler deviates from those probabilities is bounded by
`tau`, which certification subtracts from its bounds.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from gambeson.errors import UserError
from gambeson.keys import Part, stream
from gambeson.noise.law import Noise

# A cell index takes 16 random bits where they decide it, and 47 more where they do not: 63 in all.
BITS, FIRST = 63, 16
# Values that are looked up at once: NumPy makes an index of 8 bytes of each, and these stay in a core's cache.
SLICE = 8192
# Relative error of a tail probability in float64, four times what mpmath finds over the range (tests/test_noise.py).
TAIL_ERROR = 1e-13


@dataclass(frozen=True, eq=False)
class Additive:
    """A noise on the lattice of step 1 / levels: draws cell indices, knows how far it may be from the true cells.

    `tau` bounds the total variation distance between one drawn value and the rounded real noise; over an image of d
    values the distance is at most d * tau.
    """

    noise: Noise
    levels: int
    thresholds: NDArray[np.int64]  # P(cell <= cells[i]) * 2^63, increasing; one fewer than there are cells
    first: NDArray[np.signedinteger]  # by the first 16 bits: the cell's position, or ~(the least of several possible)
    lowest: int  # the cell at position 0
    tau: float
    states: None = None

    @property
    def unit(self) -> int:
        return self.levels

    @property
    def dtype(self) -> np.dtype[np.signedinteger]:
        return self.first.dtype

    def block(
        self, pixels: NDArray[np.signedinteger], key: tuple[Part, ...], number: int, size: int
    ) -> NDArray[np.signedinteger]:
        """Drawn pixel by pixel, the values of a pixel's channels side by side in memory, as in `sampling`."""
        channels, height, width = pixels.shape
        cells = self.sample((size, height, width, channels), stream(*key, number)).transpose(0, 3, 1, 2)
        cells += pixels
        return cells

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.signedinteger]:
        """Independent cell indices (noise in lattice steps) of `shape`: int16 where it holds them and 0..levels added
        to them, else int32.
        """
        count = int(np.prod(shape))
        bits = generator.integers(0, 2**64, size=ceil(count / 4), dtype=np.uint64).view(np.uint16)[:count]
        position = np.empty(count, self.first.dtype)
        for at in range(0, count, SLICE):
            # All 16-bit numbers are in the table; of NumPy's ways to see to that, this is the quickest.
            self.first.take(bits[at : at + SLICE], mode="wrap", out=position[at : at + SLICE])
        undecided = np.flatnonzero(position < 0)
        more = generator.integers(0, 1 << (BITS - FIRST), size=undecided.size, dtype=np.int64)
        full = (bits.take(undecided).astype(np.int64) << (BITS - FIRST)) | more
        # Most of them lie between two cells: one comparison. A search among all thresholds is for the far tails.
        cell = ~position.take(undecided)
        cell += self.thresholds.take(cell) <= full
        far = np.flatnonzero(self.thresholds.take(cell, mode="clip") <= full)
        cell[far] = np.searchsorted(self.thresholds, full.take(far), side="right")
        position[undecided] = cell
        position += self.lowest
        return position.reshape(shape)


def additive(noise: Noise, levels: int) -> Additive:
    """The table of `noise` on the lattice k / levels: 4,630 values for gaussian:1 on 255 levels."""
    step = 1 / levels
    reach = max(1, ceil(_quantile(noise, 2.0**-64) / step))
    if reach > 2**24:
        raise UserError(f"noise {noise.name} on {levels} levels reaches {reach} cells; it must stay below 2^24")
    # tails[k] = P(noise > (k + 1/2) step), k = 0..reach-1: small numbers, hence small absolute errors.
    tails = _tail(noise, (np.arange(reach, dtype=np.float64) + 0.5) * step)
    upper = np.rint(tails * 2.0**BITS).astype(np.int64)
    upper = upper[upper > 0]
    top = np.iinfo(np.int64).max
    thresholds = np.concatenate([upper[::-1], (top - upper) + 1])
    low = np.arange(2**FIRST, dtype=np.int64) << (BITS - FIRST)
    left = np.searchsorted(thresholds, low, side="right")
    right = np.searchsorted(thresholds, low + ((1 << (BITS - FIRST)) - 1), side="right")
    # int16 where it suffices: half the memory traffic of the sampling loop
    small: type[np.signedinteger] = np.int16 if len(thresholds) + levels < 2**15 else np.int32
    first = np.where(left == right, left, ~left).astype(small)
    # The distance is at most the sum of the thresholds' errors (evaluation, rounding) and the mass that is cut off. The
    # 1 covers the uniform's tails near 0, which are differences of numbers near 1: 1e-16 wrong, whatever their size.
    error = 2 * (TAIL_ERROR * (1 + float(tails.sum())) + len(upper) * 2.0 ** -(BITS + 1) + 2.0**-62)
    return Additive(noise, levels, thresholds, first, -len(upper), error)


def _tail(noise: Noise, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(noise > z) for z > 0."""
    if noise.kind == "gaussian":
        return np.asarray(ndtr(-z / noise.scale))
    if noise.kind == "laplace":
        return 0.5 * np.exp(-z / noise.scale)
    return np.clip((1 - z / noise.scale) / 2, 0, 0.5)


def _quantile(noise: Noise, tail: float) -> float:
    """The z > 0 beyond which at most `tail` of the noise lies."""
    if noise.kind == "gaussian":
        return float(-ndtri(tail)) * noise.scale
    return noise.scale * float(-np.log(2 * tail)) if noise.kind == "laplace" else noise.scale
