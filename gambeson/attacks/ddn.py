"""DDN: decoupled direction and norm."""

from collections.abc import Sequence
from math import cos, pi

import torch

from gambeson import keys as _keys
from gambeson.attacks.arguments import check_aims, check_some
from gambeson.attacks.nearest import begin, end, hard, keep, unit
from gambeson.attacks.result import Result
from gambeson.attacks.search import column, look
from gambeson.errors import UserError
from gambeson.geometry import box_bounds, distance
from gambeson.types import Box, Classifier, Images, Labels


def ddn(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    steps: int = 100,
    gamma: float = 0.05,
    initial: float = 1.0,
    levels: int | None = None,
    loss: str = "cross_entropy",
    targets: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """The smallest l2 perturbation that fools: a gradient step, then onto a sphere that shrinks or grows.

        delta <- delta + s g / ||g||,   rho <- (1 - gamma) rho where delta fooled, else (1 + gamma) rho
        delta <- rho delta / ||delta||, then into the box (and onto the lattice k / levels)

    steps    >= 1, one forward and backward pass each; s falls from 1 to 0.01 along a cosine.
    gamma    in (0, 1); initial: > 0, the first rho.
    levels   e.g. 255: only images that can be saved with so many levels are visited; None: any.
    loss     what g is the gradient of (see `pgd`). targets, box, keys: as in `pgd`; a zero gradient is replaced by a
             random direction, one for each image.

    Returns the nearest point visited that fools, x where there is none (see `Result.reason`). Fooled images stay as
    they are.

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> round(ddn(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0])).distance.item(), 2)
    0.2

    Rony et al. 2019, arXiv:1811.09600, where levels is 255.
    """
    box = box or Box()
    keys = range(len(x)) if keys is None else keys
    check_some(x, y, box=box, keys=keys, steps=steps, levels=levels)
    check_aims(x, y, targets, None)
    if not 0 < gamma < 1 or not initial > 0:
        raise UserError(f"gamma is {gamma} and initial {initial}; gamma must be in (0, 1), initial > 0")
    lower, upper = box_bounds(box, x.dtype)
    with torch.inference_mode(False):
        everyone, nearest = begin(logits, x, y, targets, loss=loss)
        rows = hard(everyone, nearest)
        farthest = distance(torch.maximum(rows.x - lower, upper - rows.x), "l2")
        x_adv, rho = rows.x, torch.full_like(farthest, initial)
        blind = _directions(rows.x, [keys[row] for row in rows.number.tolist()])
        for count in range(steps if len(rows.x) else 0):
            seen = look(rows, x_adv, loss, gradient=True)
            keep(nearest, rows, x_adv, seen, "l2")
            ahead = torch.where(column(seen.grad.flatten(1).abs().amax(1) > 0, blind), unit(seen.grad), blind)
            delta = (x_adv - rows.x) + (0.01 + 0.99 * (1 + cos(pi * count / steps)) / 2) * ahead
            rho = torch.minimum(rho * torch.where(seen.fooled, 1 - gamma, 1 + gamma), farthest)
            on_sphere = column(rho, delta).to(delta.dtype) * unit(delta)
            x_adv = (rows.x + on_sphere).clamp(lower, upper)
            x_adv = x_adv if levels is None else (x_adv * levels).round() / levels
        if len(rows.x):
            keep(nearest, rows, x_adv, look(rows, x_adv, loss, gradient=False), "l2")
    looks = 12 if levels is None else 1  # a point that is moved outwards leaves the lattice
    return end(logits, x, y, nearest, everyone, norm="l2", loss=loss, box=box, looks=looks)


def _directions(x: Images, keys: Sequence[int]) -> Images:
    """A random direction of l2 length 1 for every image."""
    drawn = [torch.from_numpy(_keys.generator(int(key), "ddn").standard_normal(x[0].numel())) for key in keys]
    return unit(torch.stack(drawn).to(x).reshape(x.shape)) if drawn else torch.zeros_like(x)
