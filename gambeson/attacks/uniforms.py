"""Random numbers for attacks that ask without gradients."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gambeson import keys as _keys

_AHEAD = 64  # queries whose numbers are drawn at once


class Uniforms:
    """Uniform numbers in [0, 1), `width` for each image and query, each image's from a generator of its own.

    An image that was left out of a query is not asked for again.
    """

    def __init__(self, keys: Sequence[int], purpose: str, restart: int, width: int, device: torch.device) -> None:
        self._generators = [_keys.generator(int(key), purpose, restart) for key in keys]
        self._drawn = np.zeros((len(self._generators), _AHEAD, width))
        self._here, self._device, self._used = torch.empty(0), device, _AHEAD

    def __call__(self, places: Tensor) -> Tensor:
        """The next ones (n, width), float64, of the images at `places` (n,) among the keys."""
        if self._used == _AHEAD:
            for place in places.tolist():
                self._drawn[place] = self._generators[place].random(self._drawn.shape[1:])
            self._here, self._used = torch.from_numpy(self._drawn).to(self._device), 0
        self._used += 1
        return self._here[places, self._used - 1]
