"""Which attack is asked for, with all its options: one, or a suite of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gambeson.attacks import ATTACKS, NEAREST_ATTACKS
from gambeson.attacks.by_name import check_aims_at, complete, defaults
from gambeson.attacks.steps import STEP_RULES, usual_rule
from gambeson.errors import UserError
from gambeson.evaluation.effort import Planned, members_of
from gambeson.evaluation.one_attack import differentiable, first_step
from gambeson.evaluation.target import Target
from gambeson.suites import PRESETS, Member, preset
from gambeson.types import Ball, Classifier, Images, Labels, Norm

LISTED = ("pgd", "fgsm")  # whose options are settings by themselves
_WALKS = ("pgd", "fgsm", "ddn")  # attacks that walk once, so that their last point is one of many under new noise


@dataclass(frozen=True)
class Asked:
    """options: all of one attack's; members: of a suite, which has no options itself. eps: None of an attack for the
    smallest perturbation.
    """

    attack: str
    norm: Norm
    eps: float | None
    options: Mapping[str, Any]
    members: tuple[Member, ...] = ()

    @property
    def ball(self) -> Ball:
        return Ball(self.norm, self.eps or 0.0)

    def planned(self) -> list[Planned]:
        if self.eps == 0:
            return []
        alone = Planned(self.attack, self.options, self.norm, self.eps)
        return members_of(self.members, self.ball) if self.members else [alone]

    def settings(self) -> dict[str, Any]:
        """PGD's options one by one, others' in one place, a suite's by member."""
        if self.members:
            return {"members": [member.settings() for member in self.members]}
        if self.attack not in LISTED:
            return {"options": self.options}
        alone = {"steps": 1, "restarts": 1, "early_stop": True} if self.attack == "fgsm" else {}
        rule = self.options.get("step_rule") or usual_rule(self.norm)
        names = ("steps", "step_size", "step_rule", "loss", "restarts", "random_start", "early_stop")
        listed = {**self.options, **alone, "step_rule": rule}
        return {name: listed[name] for name in names} | {"step_rule_settings": STEP_RULES.get(rule, {})}


def check_ball(attack: str, norm: Norm, eps: float | None, pixels: int) -> None:
    """pixels: values of an image."""
    if (attack in NEAREST_ATTACKS) != (eps is None):
        why = "looks for the smallest perturbation: leave eps out" if eps is not None else "needs eps"
        raise UserError(f"eps is {eps}; {attack} {why}")
    if eps is not None:
        check_reach(Ball(norm, eps), pixels)


def check_reach(ball: Ball, pixels: int) -> None:
    """Refuse a ball that is larger than all images together: eps is in other units then."""
    farthest = {"linf": 1.0, "l2": pixels**0.5, "l1": float(pixels)}[ball.norm]
    if ball.eps > farthest:
        raise UserError(
            f"eps is {ball.eps:.6g}; in {ball.norm}, {farthest:.6g} reaches every image there is: eps is in [0, 1] "
            "pixel units (write 8/255, not 8)"
        )


def check_draws(attack: str, options: Mapping[str, Any], noise: str | None, **law: Any) -> None:
    """Refuse what is said of draws where there are none, or where the attack makes nothing of it."""
    for name, usual in (("order", "log_of_mean"), ("redraw", False), ("gradient", "autograd")):
        if noise is None and law[name] != usual:
            raise UserError(f"{name} is {law[name]!r}; that is about a smoothed classifier's draws: give noise")
    if law["redraw"] and attack != "rand" and (attack not in _WALKS or options.get("restarts", 1) != 1):
        raise UserError(
            f"redraw is for {', '.join(_WALKS)} from one start, and for rand, which averages: of others, the luckiest "
            "look would win"
        )
    if law["order"] != "mean_of_log" or attack not in {**ATTACKS, **NEAREST_ATTACKS}:
        return
    if "loss" not in defaults(attack) or options.get("loss", "log_probability") != "log_probability":
        raise UserError(f"order is mean_of_log, with loss log_probability; {attack} has another or none: leave it out")


def asked_for(
    attack: str, options: Mapping[str, Any], target: Target, logits: Classifier, x: Images, y: Labels, *, norm: Norm,
    eps: float | None, classes: int, targeted: str | Labels | None, source: Classifier | None, share: float,
) -> Asked:  # fmt: skip
    """What is refused is refused now, on one image (1, C, H, W) with next to no budget. logits: as attacks see it."""
    if attack == "fgsm" and options.get("restarts", 1) != 1:
        raise UserError("fgsm takes one step from the image: restarts must be 1 (or attack pgd)")
    if source is not None and attack not in ("transfer", "strong"):
        raise UserError(f"source is given, and {attack} makes no use of it: transfer and strong do")
    if attack in PRESETS:
        taken = [*options, *(["order"] if target.order != "log_of_mean" else [])]
        if taken:
            raise UserError(f"{attack} is a suite, its attacks have their own options: leave {', '.join(taken)} out")
        if targeted is not None:
            aim = "given" if isinstance(targeted, Tensor) else targeted
            raise UserError(f"targeted is {aim!r}; {attack} is a suite of untargeted attacks: leave it out")
        members = preset(
            attack, Ball(norm, eps or 0.0), classes, transfers=source is not None, share=share,
            early_stop=target.smoothed is None, gradients=differentiable(logits, x),
        )  # fmt: skip
        return Asked(attack, norm, eps, {}, members)
    if share != 1:
        raise UserError(f"share is {share}; that is of a suite's budget, and {attack} has its own options")
    plan = complete(attack, _usual(attack, options, target), norm=norm, eps=eps)
    if targeted is not None:
        check_aims_at(attack)
    first_step(
        logits, x, y, attack, plan, norm=norm, eps=eps, targeted=targeted, classes=classes, source=source
    )  # fmt: skip
    return Asked(attack, norm, eps, plan)


def _usual(attack: str, options: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """What is asked of the attack, with what an evaluation takes where nothing is said."""
    usual: dict[str, Any] = {}
    if target.smoothed is not None and attack in ATTACKS and "early_stop" in defaults(attack):
        usual["early_stop"] = False
    if target.order == "mean_of_log":
        usual["loss"] = "log_probability"
    alone = ("restarts",) if attack == "fgsm" else ()
    given = {name: value for name, value in options.items() if name not in alone}
    return usual | {name: value for name, value in given.items() if name != "early_stop" or value is not None}
