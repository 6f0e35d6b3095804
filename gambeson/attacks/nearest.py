"""What attacks that look for the smallest perturbation share: the nearest point so far that fools."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gambeson.attacks.result import Result, finish, refuse_rows
from gambeson.attacks.search import Rows, Seen, column, look
from gambeson.geometry import box_bounds, distance
from gambeson.types import Box, Classifier, Images, Labels, Norm

_OUTWARDS = 1e-5  # of its length: by how much a point is moved that fooled on the way and not at the end; then doubled
_LOST = "a point fooled on the way and no more when it was judged at the end"


@dataclass(frozen=True, eq=False)
class Nearest:
    """For every image, updated in place: the nearest point that fools, and how near; inf where none does."""

    x_adv: Images
    distance: Tensor
    refused: Tensor

    @property
    def found(self) -> Tensor:
        return self.distance < torch.inf


def begin(logits: Classifier, x: Images, y: Labels, targets: Labels | None, *, loss: str) -> tuple[Rows, Nearest]:
    """All images, after a first look: one that is misclassified (or is of its target) as it is has distance 0."""
    aims, number = None if targets is None else targets.clone(), torch.arange(len(x), device=x.device)
    everyone = Rows(logits, number, x.detach().clone(), y.clone(), aims, strict=targets is not None)
    clean = look(everyone, everyone.x, loss, gradient=False, first=True)
    length = torch.where(clean.fooled, 0.0, torch.inf).to(torch.float64)
    return everyone, Nearest(everyone.x.clone(), length, clean.refused)


def hard(everyone: Rows, nearest: Nearest) -> Rows:
    """The rows that do not fool as they are; waits for the device."""
    return everyone.select((nearest.distance > 0).nonzero()[:, 0])


def keep(nearest: Nearest, rows: Rows, x_adv: Images, seen: Seen, norm: Norm) -> Tensor:
    """Keep `x_adv` where it fools from nearer than the best so far; whether it does (n,).

    Of a classifier that `changes` from call to call the last point is kept, as in `search.record`.
    """
    at, length = rows.number, distance(x_adv.double() - rows.x.double(), norm)
    closer = seen.fooled & (length < nearest.distance[at])
    if _changes(rows.logits):
        closer = torch.ones_like(closer)
    nearest.x_adv[at] = torch.where(column(closer, x_adv), x_adv.detach(), nearest.x_adv[at])
    nearest.distance[at] = torch.where(closer, length, nearest.distance[at])
    nearest.refused[at] = torch.maximum(nearest.refused[at], seen.refused)
    return closer


def end(
    logits: Classifier, x: Images, y: Labels, nearest: Nearest, rows: Rows, *, norm: Norm, loss: str, box: Box,
    reasons: Callable[[int], str] = lambda row: "no point was found that fools", looks: int = 12,
    holds: Callable[[Images], Tensor] | None = None,
) -> Result:  # fmt: skip
    """What was found, judged anew; where nothing was, x itself. rows: those of `begin`.

    A point on the boundary may fool in one batch and not in another, by the last bits of its logits: it is moved
    outwards, by 1e-5 of its length at first, until it does; so many `looks` there are at most. holds: images -> (n,),
    what must be true of a point that counts, beside that it fools.
    """
    refuse_rows(nearest.refused == 1, "the classifier returned NaN or +inf logits during the attack")
    refuse_rows(nearest.refused == 2, "the gradient with respect to the image is NaN or infinite")
    lower, upper = box_bounds(box, x.dtype)
    found, x_adv, further = nearest.found, nearest.x_adv.clone(), _OUTWARDS
    lost = torch.zeros_like(found)

    def judged(x_adv: Images) -> Result:
        result = finish(logits, x, x_adv, y, norm=norm, loss=loss, aims=rows.aims, strict=rows.strict)
        return result if holds is None else replace(result, success=result.success & holds(x_adv))

    for left in reversed(range(looks)):
        result = judged(x_adv)
        lost = found & ~result.success
        if not lost.any() or _changes(logits):
            break
        if left == 0:
            result = judged(torch.where(column(lost, x), x, x_adv))
            break
        moved = (x.double() + (1 + further) * (nearest.x_adv.double() - x.double())).to(x.dtype).clamp(lower, upper)
        x_adv, further = torch.where(column(lost, x), moved, x_adv), 2 * further
    whys = zip(result.success.tolist(), lost.tolist(), strict=True)
    why = tuple("" if fooled else _LOST if gone else reasons(row) for row, (fooled, gone) in enumerate(whys))
    return replace(result, reason=why)


def _changes(logits: Classifier) -> bool:
    return getattr(logits, "changes", False)


def unit(values: Tensor) -> Tensor:
    """Every row divided by its l2 length; zero rows stay. Squares of small values would vanish, hence the scaling."""
    flat = values.flatten(1)
    largest = flat.abs().amax(1, keepdim=True)
    flat = flat / torch.where(largest > 0, largest, 1.0)
    length = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return (flat / torch.where(length > 0, length, 1.0)).reshape(values.shape)
