"""Projected gradient ascent on any function of the images: what training methods search with."""

from collections.abc import Callable

import torch
from torch import Tensor

from gambeson.attacks.search import gradient_to
from gambeson.attacks.steps import State, step, usual_rule
from gambeson.errors import UserError
from gambeson.types import Box, Images, Norm


def ascend(
    value: Callable[[Images], Tensor],
    start: Images,
    *,
    onto: Callable[[Images], Images],
    norm: Norm,
    steps: int,
    step_size: float,
    step_rule: str | None = None,
    box: Box | None = None,
) -> Images:
    """The last of `steps` projected gradient steps that increase `value`, every image on its own, detached.

    x_{t+1} = onto(x_t + step(grad value(x_t))), from onto(start). `pgd` is this with care for every image: the worst
    point is kept, what fell is left alone, what is returned is judged anew; here there are `steps` forward and as many
    backward passes, and nothing else.

    value      images (N, ...) -> (N,), differentiable.
    onto       where a point may be, as `geometry.onto(x, ball)`.
    steps      >= 0; step_size, step_rule (None: steepest ascent in `norm`): as in `pgd`. box: for steps in l1.

    >>> ascend(lambda x: x.flatten(1).sum(1), torch.zeros(1, 2), onto=lambda x: x.clamp(max=0.5), norm="linf", steps=3,
    ...        step_size=0.25)
    tensor([[0.5000, 0.5000]])
    """
    if not (isinstance(steps, int) and steps >= 0):
        raise UserError(f"steps is {steps!r}; it must be an integer >= 0")
    if not step_size >= 0:
        raise UserError(f"step_size is {step_size}; it must be >= 0, in pixel units")
    rule, box = step_rule or usual_rule(norm), box or Box()
    at = onto(start.detach())
    state: State = ()
    for count in range(1, steps + 1):
        x = at.detach().requires_grad_()
        with torch.enable_grad():
            grad = gradient_to(x, value(x))
        move, state = step(rule, grad, state, count, x=at, norm=norm, length=step_size, box=box)
        at = onto(at + move)
    return at.detach()
