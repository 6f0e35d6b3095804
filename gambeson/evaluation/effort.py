"""How long attacks will take here: on an image that holds out, the classifier's calls and the attack's own work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import floor, log2
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gambeson.attacks import NEAREST_ATTACKS
from gambeson.attacks.boundary import FEWEST_QUERIES
from gambeson.attacks.by_name import cheapest, own_norm, run
from gambeson.suites import Member
from gambeson.types import Ball, Classifier, Images, Logits, Norm

_LOOKS = 3  # an attack's first and last look, and one that judges
_FEW = {"steps": 5, "restarts": 1, "queries": FEWEST_QUERIES, "draws": 10, "samples": 32, "searches": 1, "classes": 1}


class Calls(NamedTuple):
    """Of a classifier on one image: forward passes alone, and those with a backward pass to the image."""

    forward: float
    backward: float

    def plus(self, other: "Calls") -> "Calls":
        return Calls(self.forward + other.forward, self.backward + other.backward)

    @property
    def all(self) -> float:
        return self.forward + self.backward

    def times(self, factor: float) -> "Calls":
        return Calls(self.forward * factor, self.backward * factor)


class Planned(NamedTuple):
    """An attack, with all options; eps: None of one for the smallest perturbation."""

    name: str
    options: Mapping[str, Any]
    norm: Norm
    eps: float | None


@dataclass(frozen=True)
class Effort:
    """About so many seconds, if every one of so many images holds out to the end."""

    images: int
    seconds: float


def calls(name: str, options: Mapping[str, Any], classes: int, targeted: bool = False) -> Calls:
    """What an attack asks of the classifier for one image that holds out; options: all of them."""
    if name in ("multi_targeted", "transfer"):
        inner = calls(options["inner"], {**options["of"], **options}, classes, targeted=name == "multi_targeted")
        others = min(options.get("classes") or classes - 1, classes - 1)
        return Calls(_LOOKS, 0).plus(inner.times(others if name == "multi_targeted" else 1))
    steps = options.get("steps", 1) * options.get("restarts", 1)
    boundaries = 1 if targeted else classes - 1
    if name in ("square", "boundary"):
        return Calls(_LOOKS + options["queries"] * options.get("restarts", 1), 0)
    if name == "random_noise":
        return Calls(_LOOKS + options["draws"], 0)
    if name == "spsa":
        return Calls(_LOOKS + steps * (options["samples"] + 1), 0)
    each = {
        "apgd": options.get("calls", 1),
        "fab": boundaries,
        "deepfool": min(options.get("candidates") or classes, boundaries),
        "carlini_wagner_l2": options.get("searches", 1),
        "carlini_wagner_linf": 1 + _doublings(options) if name == "carlini_wagner_linf" else 1,
    }
    return Calls(_LOOKS, steps * each.get(name, 1))


def _doublings(options: Mapping[str, Any]) -> int:
    return floor(log2(options["largest"] / options["initial"]))


def members_of(members: Sequence[Member], ball: Ball) -> list[Planned]:
    """The attacks of a suite, one after another."""
    alone = [member.attack in NEAREST_ATTACKS for member in members]
    return [
        Planned(
            member.attack,
            member.options,
            own_norm(member.attack, ball.norm) if far else ball.norm,
            None if far else ball.eps,
        )
        for member, far in zip(members, alone, strict=True)
    ]


def seconds(logits: Classifier, x: Images, attacks: Sequence[Planned], classes: int, looks: float = 0) -> float:
    """For one image, in batches such as `x`: a call of the classifier is timed, and each attack with a few steps on a
    classifier that costs next to nothing; what a start takes is not counted.

    looks: calls beside the attacks', without a gradient.
    """
    asked = Calls(looks, 0)
    for attack in attacks:
        asked = asked.plus(calls(attack.name, attack.options, classes))
    spent = []
    for backward in (False, True):
        if backward and not asked.backward:
            spent.append(0.0)
            continue
        for _ in range(2):  # the first one warms up
            start = perf_counter()
            _call(logits, x, backward)
        spent.append((perf_counter() - start) / len(x))
    return asked.forward * spent[0] + asked.backward * spent[1] + sum(_own(attack, x, classes) for attack in attacks)


def _own(attack: Planned, x: Images, classes: int) -> float:
    few = cheapest(attack.options, _FEW)
    blank, y = torch.zeros_like(x), torch.zeros(len(x), dtype=torch.int64, device=x.device)
    toy = partial(_toy, classes=classes)
    start = perf_counter()
    run(attack.name, few, toy, blank, y, norm=attack.norm, eps=attack.eps, keys=range(len(x)), source=toy)
    spent = (perf_counter() - start) / len(x)
    return spent * calls(attack.name, attack.options, classes).all / calls(attack.name, few, classes).all


def _toy(x: Images, classes: int) -> Logits:
    """Class 0 for dark images, 1 for bright ones: black ones hold out in most balls, noise fools."""
    bright = x.flatten(1).mean(1)
    return torch.stack([torch.full_like(bright, 0.45), bright, *[-bright] * (classes - 2)], 1)


def _call(logits: Classifier, x: Tensor, backward: bool) -> None:
    with torch.inference_mode(False), torch.set_grad_enabled(backward):
        x = x.detach().clone().requires_grad_(backward)
        z = logits(x)
        if backward and z.requires_grad:
            torch.autograd.grad(z.sum(), x, allow_unused=True)
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)
