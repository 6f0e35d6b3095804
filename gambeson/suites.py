"""Suites of attacks: one after another, each on the images that have held out, and which of them broke an image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gambeson.attacks import BLACK_BOX, NEAREST_ATTACKS
from gambeson.attacks.boundary import FEWEST_QUERIES
from gambeson.attacks.by_name import complete, own_norm, run
from gambeson.attacks.objectives import objective
from gambeson.attacks.result import Result, finish
from gambeson.attacks.search import column
from gambeson.errors import UserError, nearest
from gambeson.geometry import distance
from gambeson.types import Ball, Box, Classifier, Images, Labels

VERSIONS = ("standard", "plus", "rand")
PRESETS = ("weak", "paper", *VERSIONS, "strong")
CLEAN = "clean"  # in place of an attack's name: misclassified as it is
_TARGETS = 9  # other classes that targeted members try, as published


@dataclass(frozen=True)
class Member:
    """name: in records. attack: of `ATTACKS` or `NEAREST_ATTACKS`. options: all of them, of `by_name.complete`."""

    name: str
    attack: str
    options: Mapping[str, Any]

    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "attack": self.attack, "options": dict(self.options)}


@dataclass(frozen=True, eq=False)
class Worst:
    """result: of every image, the worst of all members; broken_by: whose point it is, None where all failed."""

    result: Result
    broken_by: tuple[str | None, ...]


def preset(
    name: str, ball: Ball, classes: int, *, transfers: bool = False, share: float = 1.0, early_stop: bool = True,
    gradients: bool = True,
) -> tuple[Member, ...]:  # fmt: skip
    """The members of a suite, in order.

    | name | members |
    |---|---|
    | weak | FGSM, PGD with 10 steps |
    | paper | PGD with 20 steps of eps / 10 from one random start |
    | standard | AutoAttack: APGD-CE, APGD-T, FAB-T (9 targets), Square (5,000 queries); l1: 5 restarts, 5 targets |
    | plus | AutoAttack: APGD-CE and -DLR and FAB, 5 restarts, Square, APGD-T, FAB-T |
    | rand | AutoAttack for randomised models: APGD-CE and -DLR, gradients over 20 calls |
    | strong | PGD with 1,000 steps from 20 random starts, Multi-Targeted, standard, Boundary, transfer (`transfers`) |

    share: of restarts and queries, > 0 and <= 1, for models that cost too much; steps and targets stay. early_stop: of
    the members that have it; no where a point is judged by something else than the attack sees. gradients: whether the
    model has any; if not, members that need them are left out.

    classes: of the model. With fewer than four there is no targeted DLR loss, with two none at all: the difference of
    two logits takes its place, which Member.options show.

    >>> [member.name for member in preset("standard", Ball("linf", 0.1), 10)]
    ['apgd_ce', 'apgd_t', 'fab_t', 'square']
    """
    if name not in PRESETS:
        raise UserError(f"preset is {name!r}; {nearest(name, PRESETS)}")
    if classes < 2:
        raise UserError(f"classes is {classes}; an attack needs at least 2")
    if not 0 < share <= 1:
        raise UserError(f"share is {share}; it must be > 0 and at most 1")
    members = [member for member in _preset(name, ball, classes, transfers) if gradients or member.attack in BLACK_BOX]
    if not members:
        raise UserError(f"the model has no gradient, and {name} has no attack without one; standard and strong have")
    return tuple(_whole(member, ball, share, early_stop) for member in members)


def as_member(name: str, attack: str, given: Mapping[str, Any], ball: Ball) -> Member:
    """A member with these options, and the attack's own where nothing is said."""
    alone = attack in NEAREST_ATTACKS  # keeps to its own norm, whatever the ball's is
    options = complete(
        attack, given, norm=own_norm(attack, ball.norm) if alone else ball.norm, eps=None if alone else ball.eps
    )
    return Member(name, attack, options)


def _whole(of: Member, ball: Ball, share: float, early_stop: bool) -> Member:
    least = {"restarts": 1, "queries": FEWEST_QUERIES}
    fewer = {key: max(few, round(share * of.options[key])) for key, few in least.items() if key in of.options}
    found = as_member(of.name, of.attack, {**of.options, **fewer}, ball)
    stops = {"early_stop": early_stop} if "early_stop" in found.options and of.attack != "transfer" else {}
    return Member(of.name, of.attack, {**found.options, **stops})


def _preset(name: str, ball: Ball, classes: int, transfers: bool) -> tuple[Member, ...]:
    """With the options that are their own."""
    if name == "weak":
        return Member("fgsm", "fgsm", {}), Member("pgd_10", "pgd", _steps(10, ball))
    if name == "paper":
        return (Member("pgd_20", "pgd", {"steps": 20, "step_size": ball.eps / 10}),)
    if name == "rand":
        return _apgd("apgd_ce", "cross_entropy", 1, calls=20), _apgd("apgd_dlr", _dlr(classes, 3), 1, calls=20)
    starts, targets = (5, 5) if ball.norm == "l1" else (1, _TARGETS)
    dlr = {"inner": "apgd", "classes": min(targets, classes - 1), "loss": _dlr(classes, 4)}
    targeted = Member("apgd_t", "multi_targeted", dlr)
    fab_t = Member("fab_t", "multi_targeted", {"inner": "fab", "classes": min(_TARGETS, classes - 1)})
    square = Member("square", "square", {"queries": 5_000})
    if name == "plus":  # 9 targets in every norm, as published
        targeted = Member("apgd_t", "multi_targeted", {**dlr, "classes": min(_TARGETS, classes - 1)})
        fast = _apgd("apgd_ce", "cross_entropy", 5), _apgd("apgd_dlr", _dlr(classes, 3), 5)
        return *fast, Member("fab", "fab", {"restarts": 5}), square, targeted, fab_t
    usual = _apgd("apgd_ce", "cross_entropy", starts), targeted, fab_t, square
    if name == "standard":
        return usual
    first = (
        Member("pgd_1000", "pgd", {**_steps(1_000, ball), "restarts": 20}),
        Member("multi_targeted", "multi_targeted", {**_steps(200, ball), "restarts": 5}),
    )
    last = Member("boundary", "boundary", {"queries": 25_000})
    return *first, *usual, last, *((Member("transfer", "transfer", _steps(100, ball)),) if transfers else ())


def worst_case(
    members: Sequence[Member], logits: Classifier, x: Images, y: Labels, *, ball: Ball, box: Box | None = None,
    keys: Sequence[int] | None = None, source: Classifier | None = None,
    broken: Callable[[Images, Tensor], Tensor] | None = None,
) -> Worst:  # fmt: skip
    """Every member on the images that no earlier one broke; of those that hold out, the point of largest margin.

    source: what a transfer member attacks. What an attack for the smallest perturbation finds counts if it is inside
    the ball. broken: (x_adv, rows (n,)) -> (n,) says whether a point breaks its image; None: by the class. The last
    call judges all points anew.

    Carlini et al. 2019, arXiv:1902.06705: the worst case is per image.
    """
    keys = range(len(x)) if keys is None else keys
    x_adv, by = x.detach().clone(), torch.full((len(x),), -1, device=x.device)
    with torch.no_grad():
        z = logits(x_adv)
        worst = objective("margin", z, y)
        wrong = z.argmax(1) != y if broken is None else broken(x_adv, torch.arange(len(x), device=x.device))
        by[wrong] = len(members)
    for place, member in enumerate(members):
        left = (by < 0).nonzero()[:, 0]
        if len(left) == 0 or ball.eps == 0:
            break
        some, names = narrowed(logits, left), [keys[row] for row in left.tolist()]
        other = None if source is None else narrowed(source, left)
        found = _attack(member, some, x[left], y[left], ball, box, names, other)
        inside = found.distance <= ball.eps
        with torch.no_grad():
            margin = objective("margin", some(found.x_adv), y[left])
        hit = (found.success if broken is None else broken(found.x_adv, left)) & inside
        better = hit | (inside & (margin > worst[left]))
        x_adv[left] = torch.where(column(better, x_adv), found.x_adv, x_adv[left])
        worst[left] = torch.where(better, margin, worst[left])
        by[left[hit]] = place
    result = finish(logits, x, x_adv, y, norm=ball.norm, loss="margin")
    named = [*(member.name for member in members), CLEAN, None]
    sure = result.success.tolist() if broken is None else (by >= 0).tolist()
    return Worst(
        result, tuple(named[place] if fooled else None for place, fooled in zip(by.tolist(), sure, strict=True))
    )


def _attack(
    member: Member, logits: Classifier, x: Images, y: Labels, ball: Ball, box: Box | None, keys: list[int],
    source: Classifier | None,
) -> Result:  # fmt: skip
    given: dict[str, Any] = {"keys": keys, "box": box, "source": source}
    if member.attack not in NEAREST_ATTACKS:
        return run(member.attack, member.options, logits, x, y, norm=ball.norm, eps=ball.eps, **given)
    found = run(member.attack, member.options, logits, x, y, norm=own_norm(member.attack, ball.norm), eps=None, **given)
    from_x = found.x_adv.double() - x.double()
    return Result(found.x_adv, found.success, found.loss, distance(from_x, ball.norm), found.reason)


def narrowed(logits: Classifier, rows: Tensor) -> Classifier:
    """The classifier of these rows of a batch, where it has something for each image."""
    found: Classifier = logits.select(rows) if hasattr(logits, "select") else logits
    return found


def _steps(steps: int, ball: Ball) -> dict[str, Any]:
    """As many steps as reach from any point of the ball to any other, and a quarter more."""
    return {"steps": steps, "step_size": 2.5 * ball.eps / steps}


def _apgd(name: str, loss: str, restarts: int, calls: int = 1) -> Member:
    return Member(name, "apgd", {"loss": loss, "restarts": restarts, "calls": calls})


def _dlr(classes: int, needed: int) -> str:
    return "dlr" if classes >= needed else "difference"
