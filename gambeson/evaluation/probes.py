"""One classifier under many attacks: the numbers that tell a weak attack from a robust model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gambeson.attacks.boundary import FEWEST_QUERIES
from gambeson.attacks.by_name import complete
from gambeson.attacks.fgsm import fgsm
from gambeson.attacks.indicators import indicators
from gambeson.attacks.local_linearity import local_linearity
from gambeson.attacks.objectives import fooled
from gambeson.attacks.pgd import first_success, pgd
from gambeson.attacks.random_noise import random_noise
from gambeson.attacks.search import NoGradient
from gambeson.errors import UserError
from gambeson.evaluation.effort import Planned, members_of
from gambeson.suites import Member, as_member, narrowed, worst_case
from gambeson.types import Ball, Classifier, Images, Labels

MULTIPLES = (0.25, 0.5, 1.0, 2.0)  # of eps, at which attacks must not become weaker
_LEVELS = 255  # of 8-bit images


@dataclass(frozen=True)
class Budget:
    """How hard it is looked.

    steps: of the long attack, each eps / 10; restarts: of another one, from random points, restart_steps each;
    eps_steps: of the attacks at other eps; climb_steps: of plain ascent; queries: of each attack without gradients;
    samples: of SPSA, for one gradient; transfer_steps: on the other classifier; noise_draws: points of random noise;
    directions, radius: of small moves; linearity_restarts, linearity_steps: of the search for the largest deviation
    from linear.
    """

    steps: int = 1_000
    restarts: int = 20
    restart_steps: int = 50
    eps_steps: int = 20
    climb_steps: int = 100
    queries: int = 1_000
    samples: int = 128
    transfer_steps: int = 100
    noise_draws: int = 10_000
    directions: int = 100
    radius: float = 4 / 255
    linearity_restarts: int = 5
    linearity_steps: int = 50

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = {"queries": FEWEST_QUERIES, "samples": 2, "radius": 0}.get(name, 1)
            if not value >= least:
                raise UserError(f"{name} is {value}; it must be at least {least}")


class Finite:
    """A classifier whose gradient has zeros for what is not finite: one bad image does not end a diagnosis."""

    def __init__(self, logits: Classifier) -> None:
        self.logits = logits

    def __call__(self, x: Images) -> Tensor:
        if x.requires_grad:
            x = x.view_as(x)
            x.register_hook(lambda slope: slope.nan_to_num(0.0, 0.0, 0.0))
        found: Tensor = self.logits(x)
        return found

    def select(self, rows: Tensor) -> "Finite":
        return Finite(narrowed(self.logits, rows))


@dataclass(frozen=True, eq=False)
class Probed:
    """fields: of the records, one dict per image. x_adv: of each image, the point of largest loss that was found;
    None where the model has no gradient.
    """

    fields: list[dict[str, Any]]
    x_adv: Images | None


def probe(
    logits: Classifier, x: Images, y: Labels, *, ball: Ball, budget: Budget, keys: Sequence[int],
    source: Classifier | None = None,
) -> Probed:  # fmt: skip
    """Everything that `diagnosed` writes about these images, but for what another judge says of x_adv.

    source: another classifier, whose adversarial images are tried too.
    """
    how: dict[str, Any] = {"steps": budget.climb_steps, "directions": budget.directions, "radius": budget.radius}
    shown = indicators(logits, x, y, ball=ball, keys=keys, **how)
    logits = Finite(logits)
    try:
        white, x_adv, columns = _with_gradients(logits, x, y, ball, budget, keys)
    except NoGradient:
        white, x_adv, columns = torch.zeros_like(y, dtype=torch.bool), None, {}
    columns |= {name: getattr(shown, name).tolist() for name in ("unavailable", "unstable")}
    if columns.get("one_step"):
        columns |= {name: getattr(shown, name).tolist() for name in ("silent", "incomplete", "unlimited")}
    columns |= _without_gradients(logits, x, y, white, ball, budget, keys, source)
    if x_adv is not None:
        with torch.no_grad():
            columns["fooled"] = fooled(logits(x_adv), y).tolist()
    names = list(columns)
    return Probed([dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)], x_adv)


def _with_gradients(
    logits: Classifier, x: Images, y: Labels, ball: Ball, budget: Budget, keys: Sequence[int]
) -> tuple[Tensor, Images, dict[str, list[Any]]]:
    """Whether any of the attacks on the ball broke each image, the point of largest loss, and the records' fields."""
    step = ball.eps / 10
    given: dict[str, Any] = {"ball": ball, "keys": keys}
    one = fgsm(logits, x, y, **given)
    long = pgd(logits, x, y, steps=budget.steps, step_size=step, **given)
    _, after = first_success(long, steps=budget.steps)
    many = pgd(logits, x, y, steps=budget.restart_steps, loss="margin", restarts=budget.restarts, **given)
    start, _ = first_success(many, steps=budget.restart_steps)
    starts = torch.where(start < 0, start, start + 1)
    by_eps = []
    for multiple in MULTIPLES:
        eps = min(multiple * ball.eps, 1.0) if ball.norm == "linf" else multiple * ball.eps
        by_eps.append(
            pgd(logits, x, y, ball=Ball(ball.norm, eps), steps=budget.eps_steps, step_size=eps / 10, keys=keys).success
        )
    largest = pgd(logits, x, y, steps=budget.restart_steps, early_stop=False, **given)
    with torch.no_grad():  # the first point that fools lies at the boundary, and little moves it back
        saved = fooled(logits((largest.x_adv * _LEVELS).round() / _LEVELS), y)
        able = largest.success & ~fooled(logits(x), y)  # some were wrong as they are
    flat = local_linearity(logits, x, y, restarts=budget.linearity_restarts, steps=budget.linearity_steps, **given)
    columns: dict[str, list[Any]] = {
        "one_step": one.success.tolist(),
        "after_steps": _counts(after),
        "after_restarts": _counts(starts),
        "fooled_rounded": [fell if told else None for fell, told in zip(saved.tolist(), able.tolist(), strict=True)],
        "by_eps": torch.stack(by_eps, 1).tolist(),
        "gamma": flat.gamma.tolist(),
        "loss": flat.loss.tolist(),
    }
    return one.success | long.success | many.success, largest.x_adv, columns


def _without_gradients(
    logits: Classifier, x: Images, y: Labels, white: Tensor, ball: Ball, budget: Budget, keys: Sequence[int],
    source: Classifier | None,
) -> dict[str, list[Any]]:  # fmt: skip
    """Of the images that held out so far: which attack broke them, and whether random noise did."""
    left = (~white).nonzero()[:, 0]
    black_box: list[str | None] = [None] * len(x)
    noise = [False] * len(x)
    if len(left):
        some, names = narrowed(logits, left), [keys[row] for row in left.tolist()]
        other = None if source is None else narrowed(source, left)
        tried = worst_case(_members(budget, source, ball), some, x[left], y[left], ball=ball, keys=names, source=other)
        blind = random_noise(some, x[left], y[left], ball=ball, draws=budget.noise_draws, keys=names)
        for place, row in enumerate(left.tolist()):
            black_box[row], noise[row] = tried.broken_by[place], bool(blind.success[place])
    return {"black_box": black_box, "random_noise": noise}


def _members(budget: Budget, source: Classifier | None, ball: Ball) -> tuple[Member, ...]:
    steps = max(1, budget.queries // budget.samples)
    asked: dict[str, dict[str, Any]] = {
        "square": {"queries": budget.queries},
        "spsa": {"steps": steps, "samples": budget.samples},
        "boundary": {"queries": budget.queries},
        **({"transfer": {"steps": budget.transfer_steps}} if source else {}),
    }
    return tuple(as_member(name, name, options, ball) for name, options in asked.items())


def planned(ball: Ball, budget: Budget, source: Classifier | None) -> list[Planned]:
    """Roughly what `probe` asks for, as attacks: other searches are counted as steps of PGD."""
    more = budget.restart_steps * (budget.restarts + 1)
    more += budget.eps_steps * len(MULTIPLES) + 2 * budget.climb_steps
    steps = budget.steps + more + budget.linearity_restarts * budget.linearity_steps
    noise = complete("random_noise", {"draws": budget.noise_draws}, norm=ball.norm, eps=ball.eps)
    return [
        Planned("pgd", complete("pgd", {"steps": steps}, norm=ball.norm, eps=ball.eps), ball.norm, ball.eps),
        *members_of(_members(budget, source, ball), ball),
        Planned("random_noise", noise, ball.norm, ball.eps),
    ]


def _counts(values: Tensor) -> list[int | None]:
    return [None if value < 0 else value for value in values.tolist()]
