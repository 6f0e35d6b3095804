"""Why did an attack fail? Numbers per image, each of one way to fail (Pintor et al. 2022, arXiv:2106.09947)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gambeson import geometry
from gambeson import keys as _keys
from gambeson.attacks.arguments import check
from gambeson.attacks.search import NoGradient, Rows, look
from gambeson.attacks.steps import State, step, usual_rule
from gambeson.types import Ball, Box, Classifier, Images, Labels

WINDOW = 10  # the last steps, in which an optimisation that has ended gains no more


@dataclass(frozen=True, eq=False)
class Indicators:
    """One row per image.

    unavailable  bool: no gradient at all, a zero one, or one that is not finite, at x.
    unstable     in [0, 1]: by how much the loss changes, relative to itself, over random small moves, on average.
    silent       bool: a point on the attack's way fooled, and its last one did not.
    incomplete   in [0, 1]: the share of the loss's whole gain that the last ten steps brought.
    unlimited    bool: the attack failed although every image was within reach.
    """

    unavailable: Tensor
    unstable: Tensor
    silent: Tensor
    incomplete: Tensor
    unlimited: Tensor


def indicators(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    ball: Ball,
    steps: int = 100,
    step_size: float | None = None,
    loss: str = "cross_entropy",
    directions: int = 100,
    radius: float = 4 / 255,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Indicators:
    """Run plain steepest ascent, without any of the precautions of `pgd`, and look at what went wrong on the way.

    steps, step_size (None: eps / 10), loss, box, keys: as in `pgd`. directions, radius: of the random moves of
    `unstable`, uniform in +-radius in every pixel; it looks at z_y - max_{s != y} z_s, whatever the loss: a confident
    model's cross-entropy is next to nothing, and any move changes it by much. The unlimited attack goes as many steps
    through the whole box, each a tenth of its width. Calls the classifier about 2 * steps + directions times.
    """
    box = box or Box()
    keys = range(len(x)) if keys is None else keys
    check(x, y, None, box=box, keys=keys, steps=steps, step_size=step_size, restarts=1, random_start=False)
    length = ball.eps / 10 if step_size is None else step_size
    with torch.inference_mode(False):
        rows = Rows(logits, torch.arange(len(x), device=x.device), x.detach().clone(), y.clone(), None, strict=False)
        unavailable = _unavailable(rows, loss)
        unstable = _unstable(rows, directions, radius, keys)
        if bool(unavailable.all()):  # nothing to climb along
            fooled = look(rows, rows.x, loss, gradient=False).fooled
            return Indicators(unavailable, unstable, fooled & False, torch.zeros_like(unstable), ~fooled)
        losses, fooled = _climb(rows, ball, steps, length, loss, box)
        whole = Ball("linf", box.upper - box.lower)
        _, anywhere = _climb(rows, whole, steps, whole.eps / 10, loss, box, until_fooled=True)
    top = losses.cummax(0).values
    gain = (top[-1] - losses[0]).clamp(min=1e-30)
    before = top[max(len(top) - 1 - WINDOW, 0)]
    settled = fooled.any(0)
    incomplete = torch.where(settled, 0.0, ((top[-1] - before) / gain).clamp(0, 1))
    return Indicators(unavailable, unstable, settled & ~fooled[-1], incomplete, ~anywhere.any(0))


def _unavailable(rows: Rows, loss: str) -> Tensor:
    try:
        seen = look(rows, rows.x, loss, gradient=True, first=True)
    except NoGradient:
        return torch.ones(len(rows.x), dtype=torch.bool, device=rows.x.device)
    return (seen.refused == 2) | (seen.grad.flatten(1).abs().amax(1) == 0)


def _unstable(rows: Rows, directions: int, radius: float, keys: Sequence[int]) -> Tensor:
    """The mean over the directions of |m(x + move) - m(x)| / |m(x)|, each capped at 1; m: the margin."""
    base = look(rows, rows.x, "difference", gradient=False).loss.double()
    generators, total = [_keys.generator(int(key), "unstable") for key in keys], torch.zeros_like(base)
    for _ in range(directions):
        drawn = [torch.from_numpy(draw.uniform(-radius, radius, rows.x[0].numel())) for draw in generators]
        move = torch.stack(drawn).to(rows.x).reshape(rows.x.shape) if drawn else rows.x
        moved = look(rows, rows.x + move, "difference", gradient=False).loss.double()
        total += ((moved - base).abs() / base.abs().clamp(min=1e-30)).clamp(max=1.0)
    return total / max(directions, 1)


def _climb(
    rows: Rows, ball: Ball, steps: int, length: float, loss: str, box: Box, until_fooled: bool = False
) -> tuple[Tensor, Tensor]:
    """The loss (steps + 1, n) of every point of the way from x, and whether it fooled."""
    x_adv, losses, fooled = rows.x, list[Tensor](), list[Tensor]()
    state: State = ()
    rule = usual_rule(ball.norm)
    ever = torch.zeros_like(rows.y, dtype=torch.bool)
    onto = geometry.onto(rows.x, ball, box)
    for count in range(1, steps + 2):
        seen = look(rows, x_adv, loss, gradient=count <= steps)
        losses.append(seen.loss.double())
        fooled.append(seen.fooled)
        ever |= seen.fooled
        if count > steps or (until_fooled and bool(ever.all())):
            break
        move, state = step(rule, seen.grad, state, count, x=x_adv, norm=ball.norm, length=length or 1.0, box=box)
        x_adv = onto(x_adv + move)
    return torch.stack(losses), torch.stack(fooled)
