"""Noise that splits each value's range into cells and tells only the cell (Levine & Feizi 2021), derandomised.

In state t = 0..states-1, thresholds of value i lie half-way below the integers that are offset_i + t modulo `states`,
so that a cell holds `states` neighbouring integers. Over all states every half-way point is a threshold exactly once,
whatever the offsets. Hence a step of one value to the next integer changes the noisy image in one state, and an image
that is m lattice steps away in l1 is seen alike in all but at most m of them: no classifier's votes change more.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from gambeson.errors import UserError
from gambeson.keys import Part, generator
from gambeson.noise.law import Noise


@dataclass(frozen=True, eq=False)
class Splitting:
    """Splitting noise on the lattice of step 1 / levels, every state of it, in integers.

    A noisy value is the middle of the cell's part in 0..levels; twice that is an integer, hence the unit. The offsets
    are pseudo-random and depend on the number of states and the image's shape alone: the noise's name says which
    function the smoothed classifier is, whatever the seed of a run. The certificate holds for any offsets.
    """

    noise: Noise
    levels: int
    states: int
    middles: NDArray[np.signedinteger]  # twice the middle of the cell whose least integer is first + 1 - states
    tau: float = 0.0

    @property
    def unit(self) -> int:
        return 2 * self.levels

    @property
    def dtype(self) -> np.dtype[np.signedinteger]:
        return self.middles.dtype

    def block(
        self, pixels: NDArray[np.signedinteger], key: tuple[Part, ...], number: int, size: int
    ) -> NDArray[np.signedinteger]:
        """The noisy images of `size` states, from number * size on; `key` makes no difference."""
        state = (
            np.arange(number * size, (number + 1) * size, dtype=np.int32)[(...,) + (None,) * pixels.ndim] % self.states
        )
        # How far a value lies above the least integer of its cell: `rest` in state 0, one less in the next.
        rest = (pixels - offsets(self.states, pixels.shape)) % self.states
        first = state + (pixels - rest)
        first -= self.states * (state > rest)
        return self.middles.take(first + (self.states - 1))

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float64]:
        """The thresholds in [0, states) of `shape[0]` states drawn at random: (shape[0], *image)."""
        state = generator.integers(self.states, size=shape[0])[(...,) + (None,) * (len(shape) - 1)]
        thresholds = (offsets(self.states, shape[1:]) + state) % self.states
        return thresholds.astype(np.float64) - 0.5


def splitting(noise: Noise, levels: int) -> Splitting:
    """`noise` on the lattice k / levels, with 2 * scale * levels states, rounded to a whole number.

    >>> splitting(Noise("splitting", 0.75), 255).states
    382
    """
    states = round(2 * noise.scale * levels)
    if states < 2:
        raise UserError(
            f"noise {noise.name} on {levels} levels has cells of {states} integers; they must have at least 2: give a "
            f"half-width of {1 / levels:.6g} or more"
        )
    small: type[np.signedinteger] = np.int16 if 2 * levels < 2**15 else np.int32
    first = np.arange(1 - states, levels + 1)
    middles = np.maximum(first, 0) + np.minimum(first + states - 1, levels)
    return Splitting(noise, levels, states, middles.astype(small))


@lru_cache(maxsize=16)
def offsets(states: int, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """The fixed offset of every value, in 0..states-1.

    Half a raw word each, by a multiplication and a shift: NumPy promises to keep the stream of raw words, but not what
    `integers` makes of them, and other offsets would be another smoothed classifier.
    """
    count = prod(shape)
    words = generator("splitting", states, *shape).bit_generator.random_raw(ceil(count / 2))
    halves = np.stack([words & 0xFFFFFFFF, words >> 32], -1).ravel()[:count]
    return ((halves * states) >> 32).astype(np.int32).reshape(shape)
