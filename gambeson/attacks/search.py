"""What gradient attacks share: the images still under attack, one look at them, the worst point so far."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gambeson.attacks.arguments import check_classes
from gambeson.attacks.objectives import fooled, objective
from gambeson.attacks.result import refuse_rows, usable
from gambeson.errors import UserError
from gambeson.types import Classifier, Images, Labels


@dataclass(frozen=True, eq=False)
class Rows:
    """The images still under attack: `number` (n,) is their row in the whole batch."""

    logits: Classifier
    number: Tensor
    x: Images
    y: Labels
    targets: Labels | None

    def select(self, rows: Tensor) -> "Rows":
        narrowed = self.logits.select(rows) if hasattr(self.logits, "select") else self.logits
        targets = None if self.targets is None else self.targets[rows]
        return Rows(narrowed, self.number[rows], self.x[rows], self.y[rows], targets)


@dataclass(frozen=True, eq=False)
class Seen:
    """What one look showed, one row per image; `refused`: 1 for unusable logits, 2 for an unusable gradient, else 0."""

    loss: Tensor
    fooled: Tensor
    refused: Tensor
    grad: Tensor


@dataclass(frozen=True, eq=False)
class Best:
    """The worst found so far for every image, updated in place; a `settled` image changes no more."""

    x_adv: Images
    loss: Tensor
    success: Tensor
    settled: Tensor
    refused: Tensor


def look(rows: Rows, x_adv: Images, loss: str, *, gradient: bool, first: bool = False) -> Seen:
    """One forward pass, and a backward pass to the images only if `gradient`."""
    x_adv = x_adv.detach().requires_grad_(gradient)
    with torch.set_grad_enabled(gradient):
        z = rows.logits(x_adv)
        if first:
            check_classes(z, rows.x, rows.y, rows.targets)
            refuse_rows(~usable(z), "the classifier returned NaN or +inf logits")
        value = objective(loss, z, rows.y, rows.targets)
    refused = (~usable(z)).to(torch.int8)
    grad = x_adv.detach().new_zeros(())
    if gradient:
        found = torch.autograd.grad(value.sum(), x_adv, allow_unused=True)[0] if value.requires_grad else None
        if found is None:
            raise UserError(
                "the classifier's logits carry no gradient to its images (is there a no_grad, a detach or a conversion "
                "inside it?); remove it, or use an attack that needs no gradient"
            )
        broken = ~found.flatten(1).isfinite().all(1)
        refused = torch.where((refused == 0) & broken, 2, refused)
        grad = found.nan_to_num(0.0, 0.0, 0.0)
    return Seen(value.detach(), fooled(z.detach(), rows.y, rows.targets), refused, grad)


def record(best: Best, rows: Rows, x_adv: Images, seen: Seen, early_stop: bool) -> None:
    """Keep `x_adv` where it is worse for the classifier than the best so far: fooling first, then loss."""
    at = rows.number
    had, found, still = best.success[at], seen.fooled, ~best.settled[at]
    better = still & ((found & ~had) | ((found == had) & (seen.loss > best.loss[at])))
    best.x_adv[at] = torch.where(better.reshape(-1, *[1] * (x_adv.dim() - 1)), x_adv, best.x_adv[at])
    best.loss[at] = torch.where(better, seen.loss, best.loss[at])
    best.success[at] = had | (better & found)
    best.settled[at] |= found & early_stop
    best.refused[at] = torch.where(still, torch.maximum(best.refused[at], seen.refused), best.refused[at])
