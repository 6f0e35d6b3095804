"""FMN: the fast minimum-norm attack."""

from collections.abc import Sequence
from math import cos, pi

import torch

from gambeson import geometry
from gambeson.attacks.arguments import check_aims, check_some
from gambeson.attacks.nearest import begin, end, hard, keep, unit
from gambeson.attacks.result import Result
from gambeson.attacks.search import look
from gambeson.errors import UserError
from gambeson.geometry import DUAL, box_bounds, distance
from gambeson.types import Box, Classifier, Images, Labels, Norm


def fmn(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    norm: Norm = "l2",
    steps: int = 100,
    step_size: float = 1.0,
    gamma: float = 0.05,
    targets: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """The smallest perturbation in any norm: l2 gradient steps, projected on a ball whose radius follows the boundary.

        delta <- P_eps( delta + s g / ||g||_2 ),  g the gradient of the margin L = max_{s != y} z_s - z_y
        eps   <- min((1 - gamma) eps, best)          where delta fooled
                 (1 + gamma) eps                     where it did not, and something has
                 (1 + gamma) (||delta|| + |L| / ||g||_dual)   where nothing has yet: the boundary, linearised

    steps      >= 1, one forward and backward pass each; s falls from `step_size` (> 0, in l2) to a hundredth of it, and
               gamma, in (0, 1), to 0.001, along a cosine.
    targets, box, keys: as in `pgd`; with targets, L is z_t - max_{s != t} z_s. Nothing is random.

    Returns the nearest point visited that fools, x where there is none (see `Result.reason`).

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> round(fmn(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0]), norm="linf").distance.item(), 2)
    0.1

    Pintor et al. 2021, arXiv:2102.12827. Different: the exact projection on ball and box, and 1 + gamma before anything
    has fooled.
    """
    box = box or Box()
    keys = range(len(x)) if keys is None else keys
    check_some(x, y, box=box, keys=keys, steps=steps)
    check_aims(x, y, targets, None)
    if not 0 < gamma < 1 or not step_size > 0:
        raise UserError(f"gamma is {gamma} and step_size {step_size}; gamma must be in (0, 1), step_size > 0")
    lower, upper = box_bounds(box, x.dtype)
    with torch.inference_mode(False):
        everyone, nearest = begin(logits, x, y, targets, loss="margin")
        rows = hard(everyone, nearest)
        farthest = distance(torch.maximum(rows.x - lower, upper - rows.x), norm)
        x_adv, eps = rows.x, torch.full_like(farthest, torch.inf)
        for count in range(steps if len(rows.x) else 0):
            falling = (1 + cos(pi * count / steps)) / 2
            seen = look(rows, x_adv, "margin", gradient=True)
            keep(nearest, rows, x_adv, seen, norm)
            best, change = nearest.distance[rows.number], 0.001 + (gamma - 0.001) * falling
            away = seen.loss.double().abs() / distance(seen.grad, DUAL[norm]).clamp(min=1e-12)
            reach = distance(x_adv.double() - rows.x.double(), norm) + away
            outside = (1 + change) * torch.where(best < torch.inf, eps, reach)
            eps = torch.where(seen.fooled, torch.minimum((1 - change) * eps, best), outside)
            eps = torch.minimum(eps, farthest)
            moved = x_adv + step_size * (0.01 + 0.99 * falling) * unit(seen.grad)
            x_adv = geometry.project(moved, rows.x, geometry.Balls(norm, eps), box)
        if len(rows.x):
            keep(nearest, rows, x_adv, look(rows, x_adv, "margin", gradient=False), norm)
    return end(logits, x, y, nearest, everyone, norm=norm, loss="margin", box=box)
