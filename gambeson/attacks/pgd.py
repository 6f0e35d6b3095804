"""Projected gradient descent."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gambeson import geometry
from gambeson.attacks.arguments import check, check_classes
from gambeson.attacks.objectives import fooled, objective
from gambeson.attacks.result import Result, finish, refuse_rows, usable
from gambeson.attacks.steps import State, step
from gambeson.errors import UserError
from gambeson.types import Ball, Box, Classifier, Images, Labels

_LOOKS_APART = 5  # on an accelerator, steps between two looks at who is fooled: each look waits for the device


@dataclass(frozen=True, eq=False)
class _Rows:
    """The images still under attack: `number` (n,) is their row in the whole batch."""

    logits: Classifier
    number: Tensor
    x: Images
    y: Labels
    targets: Labels | None

    def select(self, rows: Tensor) -> "_Rows":
        narrowed = self.logits.select(rows) if hasattr(self.logits, "select") else self.logits
        targets = None if self.targets is None else self.targets[rows]
        return _Rows(narrowed, self.number[rows], self.x[rows], self.y[rows], targets)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What one look showed, one row per image; `refused` is 1 for unusable logits, 2 for an unusable gradient, else 0."""

    loss: Tensor
    fooled: Tensor
    refused: Tensor
    grad: Tensor


@dataclass(frozen=True, eq=False)
class _Best:
    """The worst found so far for every image, updated in place; a `settled` image changes no more."""

    x_adv: Images
    loss: Tensor
    success: Tensor
    settled: Tensor
    refused: Tensor


def pgd(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    ball: Ball,
    steps: int = 20,
    step_size: float | None = None,
    step_rule: str | None = None,
    loss: str = "cross_entropy",
    restarts: int = 1,
    random_start: bool = True,
    early_stop: bool = True,
    targets: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """The worst point in the ball that projected gradient steps find, for every image on its own.

    x_{t+1} = P(x_t + step(grad_x L(logits(x_t), y))), P the exact Euclidean projection on ball ∩ box.

    logits      images -> logits (N, K); in eval mode. If it has `.select(rows)`, it is narrowed whenever images are dropped.
    x, y        images (N, ...) in the box; labels int64 (N,).
    step_size   > 0, the length of a step in the ball's norm; None: 2.5 * eps / steps (so that any point can be reached).
    step_rule   "sign", "normalised", "momentum", "adam" (see `attacks.steps.step`); None: steepest ascent, "sign" in linf, else "normalised".
    loss        "cross_entropy", "margin", "dlr" (see `attacks.objectives.objective`).
    restarts    >= 1; the worst case is kept per image. More than one needs `random_start`.
    early_stop  keep the first point that fools and attack that image no more; otherwise the fooling point of largest loss.
    targets     int64 (N,), none equal to y: success then means prediction == target.
    keys        one integer per image, for its random starts; None: 0 .. N-1.

    Of all points visited, x itself included, one that fools is preferred, then the larger loss: never simply the last. Images that are
    misclassified as they are return x: success, distance 0. eps = 0 returns x. NaN or +inf logits and NaN gradients are a UserError.
    Calls the classifier 1 + restarts * (steps + 1) + 1 times (one fewer without random start), steps * restarts of them backward.

    Changes nothing of the classifier: no mode, no .grad, no buffer that its forward does not change, no global random state.

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> pgd(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0]), ball=Ball("linf", 0.2)).success
    tensor([True])

    Madry et al. 2018, arXiv:1706.06083. Different from the paper, to be no weaker than it: best instead of last iterate, exact
    projection, every image judged on its own.
    """
    box = box or Box()
    check(x, y, steps=steps, step_size=step_size, restarts=restarts, random_start=random_start, targets=targets, box=box)
    length = 2.5 * ball.eps / steps if step_size is None else step_size
    rule = step_rule or ("sign" if ball.norm == "linf" else "normalised")
    keys = range(len(x)) if keys is None else keys
    with torch.inference_mode(False):
        everyone = _Rows(logits, torch.arange(len(x), device=x.device), x.detach().clone(), y, targets)
        seen = _look(everyone, everyone.x, loss, gradient=not random_start and ball.eps > 0, first=True)
        best = _Best(everyone.x.clone(), seen.loss.clone(), seen.fooled.clone(), seen.fooled.clone(), seen.refused.clone())
        for restart in range(restarts if ball.eps > 0 else 0):
            rows, x_adv, state = everyone, everyone.x, ()  # type: _Rows, Images, State
            if random_start:
                rows = rows.select((~best.settled).nonzero()[:, 0]) if early_stop else rows
                starts = [keys[row] for row in rows.number.tolist()]
                x_adv = geometry.random_start(rows.x, ball, box, keys=starts, restart=restart)
            for count in range(1, steps + 1):
                if count > 1 or random_start:
                    seen = _look(rows, x_adv, loss, gradient=True)
                    _record(best, rows, x_adv, seen, early_stop)
                grad = seen.grad
                if early_stop and (x.device.type == "cpu" or count % _LOOKS_APART == 1):
                    left = (~best.settled[rows.number]).nonzero()[:, 0]
                    if len(left) == 0:
                        break
                    if len(left) < len(x_adv):
                        rows, x_adv, grad, state = rows.select(left), x_adv[left], grad[left], tuple(s[left] for s in state)
                move, state = step(rule, grad, state, count, x=x_adv, norm=ball.norm, length=length, box=box)
                x_adv = geometry.project(x_adv + move, rows.x, ball, box)
            else:
                _record(best, rows, x_adv, _look(rows, x_adv, loss, gradient=False), early_stop)
    refuse_rows(best.refused == 1, "the classifier returned NaN or +inf logits during the attack")
    refuse_rows(best.refused == 2, "the gradient with respect to the image is NaN or infinite")
    return finish(logits, x, best.x_adv, y, norm=ball.norm, loss=loss, targets=targets)


def _look(rows: _Rows, x_adv: Images, loss: str, *, gradient: bool, first: bool = False) -> _Seen:
    """One forward pass, and a backward pass to the images only if `gradient`."""
    x_adv = x_adv.detach().requires_grad_(gradient)
    with torch.set_grad_enabled(gradient):
        z = rows.logits(x_adv)
        if first:
            check_classes(z, rows.x, rows.y, rows.targets)
        value = objective(loss, z, rows.y, rows.targets)
    refused = (~usable(z)).to(torch.int8)
    grad = x_adv.detach().new_zeros(())
    if gradient:
        found = torch.autograd.grad(value.sum(), x_adv, allow_unused=True)[0] if value.requires_grad else None
        if found is None:
            raise UserError(
                "the classifier's logits carry no gradient to its images (a no_grad, a detach or a conversion inside it?); "
                "remove it, or use an attack that needs no gradient"
            )
        broken = ~found.flatten(1).isfinite().all(1)
        refused = torch.where((refused == 0) & broken, 2, refused)
        grad = found.nan_to_num(0.0, 0.0, 0.0)
    return _Seen(value.detach(), fooled(z.detach(), rows.y, rows.targets), refused, grad)


def _record(best: _Best, rows: _Rows, x_adv: Images, seen: _Seen, early_stop: bool) -> None:
    """Keep `x_adv` where it is worse for the classifier than the best so far: first a fooling point, then a larger loss."""
    at = rows.number
    had, found = best.success[at], seen.fooled
    better = ~best.settled[at] & ((found & ~had) | ((found == had) & (seen.loss > best.loss[at])))
    best.x_adv[at] = torch.where(better.reshape(-1, *[1] * (x_adv.dim() - 1)), x_adv, best.x_adv[at])
    best.loss[at] = torch.where(better, seen.loss, best.loss[at])
    best.success[at] = had | (better & found)
    best.settled[at] |= found & early_stop
    best.refused[at] = torch.maximum(best.refused[at], seen.refused)
