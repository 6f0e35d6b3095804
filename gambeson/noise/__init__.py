"""Smoothing noise: its law, real-valued draws, and what certification uses: noisy images on the pixel lattice."""

from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gambeson.errors import UserError
from gambeson.keys import Part
from gambeson.noise.additive import Additive, additive
from gambeson.noise.law import KINDS, Kind, Noise, parse
from gambeson.noise.real import draw, noisy
from gambeson.noise.splitting import Splitting, splitting


class Lattice(Protocol):
    """A noise on the lattice of pixels k / levels, k = 0..levels, in integers.

    unit: a noisy value n stands for n / unit. dtype: of noisy values. tau: total variation distance between one noisy
    value and the true distribution, at most. states: how many noisy copies an image has, where they can be enumerated.
    """

    @property
    def noise(self) -> Noise: ...
    @property
    def levels(self) -> int: ...
    @property
    def unit(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[np.signedinteger]: ...
    @property
    def tau(self) -> float: ...
    @property
    def states(self) -> int | None: ...

    def block(
        self, pixels: NDArray[np.signedinteger], key: tuple[Part, ...], number: int, size: int
    ) -> NDArray[np.signedinteger]:
        """Noisy copies number * size .. (number + 1) * size of the stream of `key`: (size, *pixels.shape)."""

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.number]:
        """`shape[0]` random draws over one image, in lattice steps; over `levels`, `noisy` takes them."""


@lru_cache(maxsize=16)
def lattice(noise: Noise, levels: int) -> Lattice:
    """`noise` on the lattice k / levels; its table is made once."""
    if levels < 1:
        raise UserError(f"levels is {levels}; a lattice needs at least 1 (8-bit images have 255)")
    return splitting(noise, levels) if noise.kind == "splitting" else additive(noise, levels)
