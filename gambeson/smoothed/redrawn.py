"""A smoothed classifier whose noise is drawn anew at every call."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gambeson.types import Classifier, Images, Logits


@dataclass(frozen=True, eq=False)
class Redrawn:
    """images (N, C, H, W) -> logits: at every call `make(draw(rows))` of the images that are left."""

    make: Callable[[Tensor], Classifier]
    draw: Callable[[Tensor], Tensor]
    rows: Tensor
    changes = True  # what attacks ask for: a walk keeps its last point, not the luckiest

    def __call__(self, x: Images) -> Logits:
        return self.make(self.draw(self.rows))(x)

    def select(self, rows: Tensor) -> "Redrawn":
        return replace(self, rows=self.rows[rows.to(self.rows.device)])


def redrawn(make: Callable[[Tensor], Classifier], draw: Callable[[Tensor], Tensor], images: int) -> Redrawn:
    """Fresh draws at every step of an attack, where `soft` keeps the same: unbiased over the steps, and noisier.

    make: noise (n, m, C, H, W) -> classifier, as `partial(soft, logits)`. draw: rows (n,) among the N `images` -> the
    next noise of each, from a generator of its own, so that neither batches nor order change it.

    >>> generators = [torch.Generator().manual_seed(row) for row in range(2)]
    >>> def draw(rows):
    ...     return torch.stack([torch.randn(1, 3, generator=generators[row]) for row in rows.tolist()])
    >>> shifted = redrawn(lambda noise: lambda x: x + noise[:, 0], draw, 2)
    >>> bool((shifted(torch.zeros(2, 3)) == shifted(torch.zeros(2, 3))).any())
    False
    """
    return Redrawn(make, draw, torch.arange(images))
