"""What an attack on a smoothed classifier sees: its soft form, under draws that stay or change."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from gambeson.errors import UserError
from gambeson.keys import generator
from gambeson.noise import noisy
from gambeson.smoothed import redrawn, soft, stein
from gambeson.smoothed.hard import Smoothed
from gambeson.types import Classifier

GRADIENTS = ("autograd", "stein")


def check_target(smoothed: Smoothed, draws: int, order: str, gradient: str) -> None:
    """Refuse what has no meaning together."""
    if draws < 1:
        raise UserError(f"attack_draws is {draws}; it must be at least 1")
    if gradient not in GRADIENTS:
        raise UserError(f"gradient is {gradient!r}; it must be one of {', '.join(GRADIENTS)}")
    if gradient == "stein" and (smoothed.noise.noise.kind != "gaussian" or order != "log_of_mean" or draws < 2):
        raise UserError("gradient is stein: that is for Gaussian noise, at least 2 draws and order log_of_mean")


def seen_by_attacks(
    model: Classifier,
    smoothed: Smoothed,
    indices: Sequence[int],
    x: Tensor,
    *,
    draws: int,
    order: str,
    redraw: bool,
    gradient: str,
) -> Classifier:
    """images (N, C, H, W) -> log-probabilities; draws by a key for each image, in the law that is certified."""
    law = smoothed.noise.noise
    make: Callable[[Tensor], Classifier] = (
        partial(stein, model, sigma=law.scale)
        if gradient == "stein"
        else partial(soft, model, noisy=partial(noisy, law), order=order)  # type: ignore[arg-type]
    )
    generators = [generator(smoothed.seed, "attack", law.name, index) for index in indices]

    def draw(rows: Tensor) -> Tensor:
        shape, lattice = (draws, *x.shape[1:]), smoothed.noise
        drawn = [torch.from_numpy(lattice.sample(shape, generators[row])) for row in rows.tolist()]
        return torch.stack(drawn).to(x) / lattice.levels

    everyone = torch.arange(len(x))
    return redrawn(make, draw, len(x)) if redraw else make(draw(everyone))
