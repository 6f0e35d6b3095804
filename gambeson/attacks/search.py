"""What attacks on a ball share: the images still under attack, one look at them, the worst point so far."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gambeson.attacks.arguments import check_classes
from gambeson.attacks.objectives import fooled, objective
from gambeson.attacks.result import Result, finish, refuse_rows, usable, vetted
from gambeson.errors import UserError
from gambeson.types import Classifier, Images, Labels, Norm

_LOOKS_APART = 5


class NoGradient(UserError):
    """The classifier cannot be differentiated at all."""

    def __init__(self) -> None:
        super().__init__(
            "the classifier's logits carry no gradient to its images (is there a no_grad, a detach or a conversion "
            "inside it?); remove it, or use an attack that needs no gradient"
        )


@dataclass(frozen=True, eq=False)
class Rows:
    """The images still under attack: `number` (n,) is their row in the whole batch.

    aims: the classes that the loss goes for, None: any but y; strict: only they count as a success.
    """

    logits: Classifier
    number: Tensor
    x: Images
    y: Labels
    aims: Labels | None
    strict: bool

    def select(self, rows: Tensor) -> "Rows":
        narrowed = self.logits.select(rows) if hasattr(self.logits, "select") else self.logits
        aims = None if self.aims is None else self.aims[rows]
        return Rows(narrowed, self.number[rows], self.x[rows], self.y[rows], aims, self.strict)

    def fooled(self, logits: Tensor) -> Tensor:
        return fooled(logits, self.y, self.aims if self.strict else None)


@dataclass(frozen=True, eq=False)
class Seen:
    """What one look showed, one row per image; `refused`: 1 for unusable logits, 2 for an unusable gradient, else 0."""

    loss: Tensor
    fooled: Tensor
    refused: Tensor
    grad: Tensor


@dataclass(frozen=True, eq=False)
class Best:
    """The worst found so far for every image, updated in place; a `settled` image changes no more.

    looks (): how many there were, beside the first; when (n,): which of them fooled first, 0: the first, -1: none.
    """

    x_adv: Images
    loss: Tensor
    success: Tensor
    settled: Tensor
    refused: Tensor
    looks: Tensor
    when: Tensor


def begin(
    logits: Classifier,
    x: Images,
    y: Labels,
    targets: Labels | None,
    towards: Labels | None,
    *,
    loss: str,
    early_stop: bool = True,
    gradient: bool = False,
) -> tuple[Rows, Best, Seen]:
    """All images, and a first look at them as they are. With `early_stop`, those that are fooled already are settled.

    To be called outside inference mode: its tensors cannot be differentiated through, hence the clones.
    """
    aims = towards if targets is None else targets
    aims, number = None if aims is None else aims.clone(), torch.arange(len(x), device=x.device)
    everyone = Rows(logits, number, x.detach().clone(), y.clone(), aims, strict=targets is not None)
    clean = look(everyone, everyone.x, loss, gradient=gradient, first=True)
    settled = clean.fooled & early_stop
    refused = torch.where(settled, 0, clean.refused)
    looks, when = number.new_zeros(()), clean.fooled.long() - 1
    best = Best(everyone.x.clone(), clean.loss.clone(), clean.fooled.clone(), settled, refused, looks, when)
    return everyone, best, clean


def end(logits: Classifier, x: Images, y: Labels, best: Best, *, norm: Norm, loss: str, rows: Rows) -> Result:
    """What was found, judged anew; images that made trouble on the way are refused. rows: those of `begin`."""
    refuse_rows(best.refused == 1, "the classifier returned NaN or +inf logits during the attack")
    refuse_rows(best.refused == 2, "the gradient with respect to the image is NaN or infinite")
    found = finish(logits, x, best.x_adv, y, norm=norm, loss=loss, aims=rows.aims, strict=rows.strict)
    return replace(found, when=best.when)


def unsettled(everyone: Rows, best: Best) -> Rows:
    """The rows that another start is worth; waits for the device."""
    left = (~best.settled).nonzero()[:, 0]
    return everyone.select(left) if len(left) < len(best.settled) else everyone


def going_on(rows: Rows, best: Best, count: int = 1) -> Tensor | None:
    """Which of `rows` are still worth a step, None: all of them. On an accelerator it is looked at every fifth count
    only, since each look waits for the device.
    """
    if rows.x.device.type != "cpu" and count % _LOOKS_APART != 1:
        return None
    left = (~best.settled[rows.number]).nonzero()[:, 0]
    return None if len(left) == len(rows.number) else left


def look(rows: Rows, x_adv: Images, loss: str, *, gradient: bool, first: bool = False, calls: int = 1) -> Seen:
    """One forward pass, and a backward pass to the images only if `gradient`.

    calls: of a classifier that answers differently every time: loss and gradient are means over so many, and an image
    is fooled if the last call is, as in the published protocol for randomised defences.
    """
    seen = _look(rows, x_adv, loss, gradient, first)
    for _ in range(calls - 1):
        more = _look(rows, x_adv, loss, gradient, first)
        refused = torch.maximum(seen.refused, more.refused)
        seen = Seen(seen.loss + more.loss, more.fooled, refused, seen.grad + more.grad)
    return seen if calls == 1 else Seen(seen.loss / calls, seen.fooled, seen.refused, seen.grad / calls)


def _look(rows: Rows, x_adv: Images, loss: str, gradient: bool, first: bool) -> Seen:
    x_adv = x_adv.detach().requires_grad_(gradient)
    with torch.set_grad_enabled(gradient):
        z = rows.logits(x_adv)
        if first:
            check_classes(z, rows.x, rows.y, rows.aims)
            refuse_rows(~usable(z), "the classifier returned NaN or +inf logits")
        value = objective(loss, z, rows.y, rows.aims)
    if gradient:
        grad, refused = vetted(z, gradient_to(x_adv, value))
    else:
        grad, refused = x_adv.detach().new_zeros(()), (~usable(z)).to(torch.int8)
    return Seen(value.detach(), rows.fooled(z.detach()), refused, grad)


def gradient_to(x_adv: Images, value: Tensor, keep_graph: bool = False) -> Tensor:
    """Of the sum of the values (n,). Raises NoGradient where they do not follow from the images, whatever else they
    can be differentiated by.
    """
    if not value.requires_grad:
        raise NoGradient
    [found] = torch.autograd.grad(value.sum(), x_adv, retain_graph=keep_graph, allow_unused=True)
    if found is None:
        raise NoGradient
    return found


def record(best: Best, rows: Rows, x_adv: Images, seen: Seen, early_stop: bool) -> None:
    """Keep `x_adv` where it is worse for the classifier than the best so far: fooling first, then loss.

    Of a classifier that answers differently at every call, and says so by `changes`, the last point is kept: of looks
    under different noise the luckiest would win, not the worst. That is for attacks that walk once.
    """
    at = rows.number
    had, found, still = best.success[at], seen.fooled, ~best.settled[at]
    better = still & ((found & ~had) | ((found == had) & (seen.loss > best.loss[at])))
    if getattr(rows.logits, "changes", False):
        better = still
    best.x_adv[at] = torch.where(column(better, x_adv), x_adv, best.x_adv[at])
    best.loss[at] = torch.where(better, seen.loss, best.loss[at])
    best.success[at] = torch.where(better, found, had)
    best.looks.add_(1)
    best.when[at] = torch.where(still & found & ~had, best.looks, best.when[at])
    best.settled[at] |= found & early_stop
    best.refused[at] = torch.where(still, torch.maximum(best.refused[at], seen.refused), best.refused[at])


def column(values: Tensor, like: Tensor) -> Tensor:
    """values (n,) as they broadcast over images (n, ...)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))
