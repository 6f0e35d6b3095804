"""Half-spaces in lattice integers: smoothed classifiers whose boundary is known exactly."""

import torch
from torch import Tensor

from gambeson.inference import Form, serve
from gambeson.noise import lattice, parse
from gambeson.smoothed.company import together
from gambeson.smoothed.fixed import fixed
from gambeson.smoothed.hard import Smoothed

LEVELS = 255
FALSE_ALARM = 1e-6
ONE = torch.ones(1)
WEIGHTS = torch.randint(-4, 5, (16,), generator=torch.Generator().manual_seed(3)).float()


def halfspace(
    noise: str, weights: Tensor = WEIGHTS, threshold: float = 0.0, seed: int = 0, batch: int = 200
) -> Smoothed:
    """Class 1 where weights . x > threshold, computed exactly in lattice integers; a third class never wins."""

    def model(x: Tensor) -> Tensor:
        side = (x * LEVELS).round().flatten(1) @ weights - threshold * LEVELS
        return torch.stack([-side, side, torch.full_like(side, -1e9)], 1)

    return Smoothed(serve(model, Form("float32", "contiguous", batch)), lattice(parse(noise), LEVELS), 3, seed)


def image_at(distance: float, seed: int = 0) -> tuple[Tensor, float]:
    """A lattice image (1, 4, 4) and a threshold from which it is that far, in l2."""
    cells = torch.randint(0, LEVELS + 1, (1, 4, 4), generator=torch.Generator().manual_seed(seed))
    return cells.float() / LEVELS, float(cells.flatten().float() @ WEIGHTS) / LEVELS - distance * float(WEIGHTS.norm())


def certify(smoothed: Smoothed, pixels: Tensor, *, index: int, **budget) -> dict:
    return together(smoothed, [fixed(smoothed, pixels, **budget)], pixels[None], [index])[0]
