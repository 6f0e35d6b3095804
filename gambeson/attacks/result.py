"""What every attack returns."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gambeson.attacks.objectives import fooled, objective
from gambeson.errors import UserError
from gambeson.geometry import distance
from gambeson.types import Classifier, Images, Labels, Norm


@dataclass(frozen=True, eq=False)
class Result:
    """The outcome of an attack, one row per image.

    x_adv (N, ...) detached, in the images' dtype; success (N,) bool and loss (N,) float: of a last forward pass over
    x_adv as it is returned; distance (N,) float64: ||x_adv - x|| in the ball's own norm, subtracted and summed in
    float64. reason: of attacks that look for the nearest point that fools, in words, why there is none; "" elsewhere.
    when (N,) int64, of other attacks: at which look a point fooled first, 0: as it is, -1: at none.
    """

    x_adv: Images
    success: Tensor
    loss: Tensor
    distance: Tensor
    reason: tuple[str, ...] = ()
    when: Tensor | None = None


def finish(
    logits: Classifier,
    x: Images,
    x_adv: Images,
    y: Labels,
    *,
    norm: Norm,
    loss: str,
    aims: Labels | None = None,
    strict: bool = True,
) -> Result:
    """The Result of `x_adv`, judged anew: nothing that the search believed is reported. aims: the classes that the
    loss goes for; strict: only they count as a success.
    """
    with torch.no_grad():
        z = logits(x_adv)
    refuse_rows(~usable(z), "the classifier returned NaN or +inf logits")
    value, success = objective(loss, z, y, aims), fooled(z, y, aims if strict else None)
    return Result(x_adv.detach(), success, value, distance(x_adv.double() - x.double(), norm))


def usable(logits: Tensor) -> Tensor:
    """Whether each row of logits (N,) can be judged: no NaN, no +inf (-inf, a class that is ruled out, is allowed)."""
    return ~(logits.isnan() | (logits == float("inf"))).any(1)


def vetted(logits: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """A gradient (N, ...) with zeros for what is not finite, and what its row is refused for: 1 unusable logits, 2 the
    gradient, 0 nothing.
    """
    logits, finite = logits.detach(), grad.flatten(1).abs().amax(1).isfinite()
    return grad.nan_to_num(0.0, 0.0, 0.0), torch.where(usable(logits), 2 * (~finite).to(torch.int8), 1).to(torch.int8)


def refuse_rows(bad: Tensor, what: str) -> None:
    """Raise a UserError that names the rows marked in `bad` (N,)."""
    if bad.any():
        rows = bad.nonzero()[:, 0].tolist()
        named = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        raise UserError(
            f"{what} for {len(rows)} of {len(bad)} images (rows {named}); such an image is neither robust nor fooled: "
            "find the cause on these rows, or leave them out and say so"
        )
