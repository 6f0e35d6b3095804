"""Projected gradient descent."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gambeson import geometry
from gambeson.attacks.arguments import check
from gambeson.attacks.result import Result
from gambeson.attacks.search import Best, Rows, Seen, begin, end, going_on, look, record, unsettled
from gambeson.attacks.steps import State, step, usual_rule
from gambeson.errors import UserError
from gambeson.types import Ball, Box, Classifier, Images, Labels


@dataclass(frozen=True)
class _Plan:
    """What every step needs to know."""

    ball: Ball
    box: Box
    steps: int
    length: float
    rule: str
    loss: str
    early_stop: bool


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
    towards: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """The worst point in the ball that projected gradient steps find, for every image on its own.

    x_{t+1} = P(x_t + step(grad_x L(logits(x_t), y))), P the exact Euclidean projection on ball ∩ box.

    logits      images -> logits (N, K); in eval mode. If it has `.select(rows)`, it is narrowed whenever images are
                dropped.
    x, y        images (N, ...) in the box; labels int64 (N,).
    step_size   > 0, the length of a step in the ball's norm; None: 2.5 * eps / steps (so that any point can be
                reached).
    step_rule   "sign", "normalised", "momentum", "adam" (see `attacks.steps.step`); None: steepest ascent, "sign" in
                linf, else "normalised".
    loss        "cross_entropy", "margin", "difference", "dlr" (see `attacks.objectives.objective`).
    restarts    >= 1; the worst case is kept per image. More than one needs `random_start`.
    early_stop  keep the first point that fools and attack that image no more (one that is misclassified as it is: not
                at all); otherwise attack every image to the end and keep the fooling point of largest loss.
    targets     int64 (N,), none equal to y: success then means prediction == target.
    towards     the same, but any class other than y is a success: the loss alone aims at these classes.
    keys        one integer per image, for its random starts; None: 0 .. N-1.

    Of all points visited, x itself included, one that fools is preferred, then the larger loss: never simply the last.
    With `early_stop`, images that are misclassified as they are return x: success, distance 0. eps = 0 returns x. NaN
    or +inf logits and NaN gradients are a UserError. Calls the classifier 1 + restarts * (steps + 1) + 1 times (one
    fewer without random start), steps * restarts of them backward.

    Changes nothing of the classifier: no mode, no .grad, no buffer that its forward does not change, no global random
    state.

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> pgd(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0]), ball=Ball("linf", 0.2)).success
    tensor([True])

    Madry et al. 2018, arXiv:1706.06083. Different from the paper, to be no weaker than it: best instead of last
    iterate, exact projection, every image judged on its own.
    """
    box = box or Box()
    keys = range(len(x)) if keys is None else keys
    check(
        x,
        y,
        targets,
        towards,
        box=box,
        keys=keys,
        steps=steps,
        step_size=step_size,
        restarts=restarts,
        random_start=random_start,
    )
    length = 2.5 * ball.eps / steps if step_size is None else step_size
    rule = step_rule or usual_rule(ball.norm)
    plan = _Plan(ball, box, steps, length, rule, loss, early_stop)
    with torch.inference_mode(False):
        from_x = not random_start and ball.eps > 0
        everyone, best, clean = begin(logits, x, y, targets, towards, loss=loss, early_stop=early_stop, gradient=from_x)
        for restart in range(restarts if ball.eps > 0 else 0):
            if early_stop and best.settled.all():
                break
            if not random_start:
                _ascend(everyone, everyone.x, clean, best, plan)
                continue
            rows = unsettled(everyone, best) if early_stop else everyone
            starts = [keys[row] for row in rows.number.tolist()]
            x_adv = geometry.random_start(rows.x, ball, box, keys=starts, restart=restart)
            _ascend(rows, x_adv, None, best, plan)
    return end(logits, x, y, best, norm=ball.norm, loss=loss, rows=everyone)


def first_success(found: Result, *, steps: int, random_start: bool = True) -> tuple[Tensor, Tensor]:
    """What `pgd` with early_stop found: in which restart an image fell, and after how many steps; (N,) each.

    Both are 0 for an image that is misclassified as it is, -1 for one that held out; a start itself takes 0 steps.
    With the same step size, fewer steps or restarts would have broken exactly the images that are named here with no
    more than that.
    """
    when = found.when
    if when is None:
        raise UserError("this is no result of an attack on a ball: it does not say when an image fell")
    looks = steps + 1 if random_start else steps
    start, after = (when - 1).div(looks, rounding_mode="floor"), (when - 1).remainder(looks)
    after = after if random_start else after + 1
    return torch.where(when > 0, start, when), torch.where(when > 0, after, when)


def _ascend(rows: Rows, x_adv: Images, seen: Seen | None, best: Best, plan: _Plan) -> None:
    """`plan.steps` steps from `x_adv`, each recorded in `best`; `seen`: the look at `x_adv`, if there was one."""
    state: State = ()
    onto = geometry.onto(rows.x, plan.ball, plan.box)
    for count in range(1, plan.steps + 1):
        if seen is None:
            seen = look(rows, x_adv, plan.loss, gradient=True)
            record(best, rows, x_adv, seen, plan.early_stop)
        grad, seen = seen.grad, None
        if plan.early_stop and (left := going_on(rows, best, count)) is not None:
            if len(left) == 0:
                return
            rows, x_adv, grad = rows.select(left), x_adv[left], grad[left]
            onto = geometry.onto(rows.x, plan.ball, plan.box)
            state = tuple(remembered[left] for remembered in state)
        move, state = step(
            plan.rule, grad, state, count, x=x_adv, norm=plan.ball.norm, length=plan.length, box=plan.box
        )
        x_adv = onto(x_adv + move)
    record(best, rows, x_adv, look(rows, x_adv, plan.loss, gradient=False), plan.early_stop)
