"""DeepFool: to the nearest linearised boundary, step by step."""

from collections.abc import Sequence

import torch

from gambeson.attacks.arguments import check_some
from gambeson.attacks.gradients import nearest_boundary
from gambeson.attacks.nearest import begin, end, hard, keep
from gambeson.attacks.result import Result
from gambeson.attacks.search import column, look
from gambeson.errors import UserError
from gambeson.geometry import DUAL, box_bounds, distance
from gambeson.types import Box, Classifier, Images, Labels, Norm

_HAIR = 1e-4  # of the norm, in pixel units


def deepfool(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    norm: Norm = "l2",
    steps: int = 50,
    overshoot: float = 0.02,
    candidates: int | None = 10,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """A small perturbation that fools, in l2 or linf: the sum of moves to the nearest boundary, linearised anew.

        r <- r + (|f| / ||w||_dual + 1e-4) * dual direction of w   (l2: w / ||w||_2;  linf: sign(w))
        x_adv = x + (1 + overshoot) r, in the box;   f = z_s - z_y, w its gradient, s the nearest boundary's class

    steps       >= 1; one stops at the first point that fools. overshoot >= 0.
    candidates  classes that are looked at, y among them, the likeliest at each point; >= 2, None: all. One backward
                pass each.

    Fast, and not small: it overstates robustness, in a fixed ball by 20 points where that was measured. Nothing is
    random. A zero gradient ends the search of its image (see `Result.reason`).

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> round(deepfool(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0])).distance.item(), 2)
    0.2

    Moosavi-Dezfooli et al. 2016, arXiv:1511.04599. Different: classes are ranked anew at every point, not once at x.
    """
    box = box or Box()
    check_some(x, y, box=box, keys=range(len(x)) if keys is None else keys, steps=steps)
    if norm == "l1":
        raise UserError("norm is 'l1'; deepfool is for l2 and linf: use fmn")
    if not overshoot >= 0 or (candidates is not None and candidates < 2):
        raise UserError(f"overshoot is {overshoot}, candidates {candidates}; they must be >= 0, and >= 2 or None")
    lower, upper = box_bounds(box, x.dtype)
    with torch.inference_mode(False):
        everyone, nearest = begin(logits, x, y, None, loss="margin")
        rows = hard(everyone, nearest)
        x_adv, whole = rows.x, torch.zeros_like(rows.x, dtype=torch.float64)
        for _ in range(steps):
            if len(rows.x) == 0:
                break
            others = None if candidates is None else candidates - 1
            gap, slope, _, refused = nearest_boundary(rows, x_adv, norm, "difference", others)
            nearest.refused[rows.number] = torch.maximum(nearest.refused[rows.number], refused)
            length = distance(slope, DUAL[norm])
            # A hair beyond the boundary, or float32 may round to before it.
            share = torch.where(length > 0, gap.abs() / length + _HAIR, 0.0)
            along = (
                slope.double().sign() if norm == "linf" else slope.double() / column(length.clamp(min=1e-300), slope)
            )
            whole = whole + column(share, slope) * along
            x_adv = (rows.x.double() + (1 + overshoot) * whole).to(x.dtype).clamp(lower, upper)
            keep(nearest, rows, x_adv, seen := look(rows, x_adv, "margin", gradient=False), norm)
            left = (~seen.fooled & (length > 0)).nonzero()[:, 0]
            rows, x_adv, whole = rows.select(left), x_adv[left], whole[left]
    return end(logits, x, y, nearest, everyone, norm=norm, loss="margin", box=box)
