"""How far from linear a loss is inside a ball: the worst error of its first-order expansion."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gambeson import geometry
from gambeson.attacks.arguments import check
from gambeson.attacks.result import refuse_rows
from gambeson.attacks.search import Rows, column, look
from gambeson.attacks.steps import State, step, usual_rule
from gambeson.types import Ball, Box, Classifier, Images, Labels


@dataclass(frozen=True, eq=False)
class Linearity:
    """Per image: gamma (N,), the point x + delta where it was found (N, ...), l(x) (N,) and <delta, grad l(x)> (N,)."""

    gamma: Tensor
    x_adv: Images
    loss: Tensor
    slope: Tensor


def local_linearity(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    ball: Ball,
    steps: int = 50,
    step_size: float | None = None,
    step_rule: str | None = None,
    loss: str = "cross_entropy",
    restarts: int = 5,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Linearity:
    """gamma(eps, x) = max over the ball of g(delta) = |l(x + delta) - l(x) - <delta, grad l(x)>|.

    By projected gradient steps on g itself, whose gradient is +-(grad l(x + delta) - grad l(x)), from random points;
    the largest g visited counts. l(x + delta) is at most l(x) + |<delta, grad l(x)>| + gamma: a small gamma says that
    the loss is what its gradient says, so that a gradient attack that fails was not led astray; a large one, beside a
    high accuracy under attack, says nothing good of it. Found by first-order steps, gamma is a lower bound of itself.

    ball, steps, step_size (None: eps / 10), step_rule, loss, restarts, box, keys: as in `pgd`. Calls the classifier
    1 + restarts * (steps + 1) times, each with a backward pass.

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> x, y = torch.full((1, 1, 2, 2), 0.6), torch.tensor([0])
    >>> bool(local_linearity(flat, x, y, ball=Ball("linf", 0.1), loss="margin").gamma < 1e-6)
    True

    Qin et al. 2019, arXiv:1907.02610 (their search takes Adam, and a gradient without grad l(x)).
    """
    box = box or Box()
    keys = range(len(x)) if keys is None else keys
    check(x, y, None, box=box, keys=keys, steps=steps, step_size=step_size, restarts=restarts, random_start=True)
    length = ball.eps / 10 if step_size is None else step_size
    rule = step_rule or usual_rule(ball.norm)
    with torch.inference_mode(False):
        rows = Rows(logits, torch.arange(len(x), device=x.device), x.detach().clone(), y.clone(), None, strict=False)
        clean = look(rows, rows.x, loss, gradient=True, first=True)
        refused, base, tangent = clean.refused, clean.loss.double(), clean.grad.double().flatten(1)
        gamma, worst = torch.zeros_like(base), rows.x
        onto = geometry.onto(rows.x, ball, box)
        for restart in range(restarts if ball.eps > 0 else 0):
            x_adv = geometry.random_start(rows.x, ball, box, keys=keys, restart=restart)
            state: State = ()
            for count in range(1, steps + 2):
                seen = look(rows, x_adv, loss, gradient=True)
                refused = torch.maximum(refused, seen.refused)
                error = seen.loss.double() - base - ((x_adv.double() - rows.x.double()).flatten(1) * tangent).sum(1)
                larger = error.abs() > gamma
                gamma = torch.where(larger, error.abs(), gamma)
                worst = torch.where(column(larger, x_adv), x_adv, worst)
                if count > steps:
                    break
                away = (seen.grad.double().flatten(1) - tangent).reshape(x_adv.shape) * column(error.sign(), x_adv)
                grad = away.to(x_adv.dtype)
                move, state = step(rule, grad, state, count, x=x_adv, norm=ball.norm, length=length or 1.0, box=box)
                x_adv = onto(x_adv + move)
    refuse_rows(refused == 1, "the classifier returned NaN or +inf logits")
    refuse_rows(refused == 2, "the gradient with respect to the image is NaN or infinite")
    slope = ((worst.double() - rows.x.double()).flatten(1) * tangent).sum(1)
    return Linearity(gamma, worst, base, slope)
