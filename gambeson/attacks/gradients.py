"""Gradients of several logits at a time: where the nearest linearised decision boundary is."""

from typing import NamedTuple

import torch
from torch import Tensor

from gambeson.attacks.objectives import at, full, likeliest_others
from gambeson.attacks.result import vetted
from gambeson.attacks.search import Rows, column, gradient_to, look
from gambeson.geometry import DUAL, distance
from gambeson.types import Images, Norm

_SMALL = 1e-12


class Boundary(NamedTuple):
    """One row per image: z_s - z_y (n,), float64, its gradient (n, ...), s (n,), and what is refused (see `Seen`)."""

    gap: Tensor
    slope: Tensor
    towards: Tensor
    refused: Tensor


def nearest_boundary(rows: Rows, x_adv: Images, norm: Norm, loss: str, classes: int | None = None) -> Boundary:
    """The linearised boundary between y and another class s at `x_adv`.

    s is what `rows` aims at; where it aims at nothing, the class whose boundary is nearest by its linearisation,
    |z_s - z_y| / ||gradient||_dual, among the `classes` likeliest others (None: all), at one backward pass each.
    """
    if rows.aims is not None:
        seen = look(rows, x_adv, loss, gradient=True)
        return Boundary(seen.loss.double(), seen.grad, rows.aims, seen.refused)
    x_adv = x_adv.detach().requires_grad_()
    with torch.enable_grad():
        z = full(rows.logits(x_adv))
        ranked, own = likeliest_others(z, rows.y, classes), at(z, rows.y)
        nearest = torch.full((len(z),), torch.inf, dtype=torch.float64, device=z.device)
        gap, slope, best = torch.zeros_like(nearest), torch.zeros_like(x_adv), rows.y
        refused = torch.zeros_like(rows.y, dtype=torch.int8)
        for place, towards in enumerate(ranked.unbind(1)):
            value, last = at(z, towards) - own, place + 1 == ranked.shape[1]
            found, wrong = vetted(z, gradient_to(x_adv, value, keep_graph=not last))
            refused, value = torch.maximum(refused, wrong), value.detach().double()
            away = value.abs() / (distance(found, DUAL[norm]) + _SMALL)
            closer = away < nearest
            nearest, gap = torch.where(closer, away, nearest), torch.where(closer, value, gap)
            slope, best = torch.where(column(closer, slope), found, slope), torch.where(closer, towards, best)
    return Boundary(gap, slope, best, refused)
