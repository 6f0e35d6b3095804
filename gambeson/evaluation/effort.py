"""How long attacks will take: the calls they make on an image that holds out, and what a call takes here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gambeson.attacks import NEAREST_ATTACKS
from gambeson.evaluation.attack_options import complete, own_norm
from gambeson.evaluation.probes import MULTIPLES, Budget
from gambeson.suites import Member
from gambeson.types import Classifier, Norm

_LOOKS = 3  # an attack's first and last look, and one that judges


class Calls(NamedTuple):
    """Of a classifier on one image: forward passes alone, and those with a backward pass to the image."""

    forward: float
    backward: float

    def plus(self, other: "Calls") -> "Calls":
        return Calls(self.forward + other.forward, self.backward + other.backward)

    def times(self, factor: float) -> "Calls":
        return Calls(self.forward * factor, self.backward * factor)


@dataclass(frozen=True)
class Effort:
    """At most so many seconds, if every one of so many images holds out to the end."""

    images: int
    seconds: float


def calls(name: str, options: Mapping[str, Any], classes: int, targeted: bool = False) -> Calls:
    """What an attack asks of the classifier for one image that holds out; options: all of them."""
    if name in ("multi_targeted", "transfer"):
        inner = calls(options["attack"], {**options["of"], **options}, classes, targeted=name == "multi_targeted")
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
    }
    return Calls(_LOOKS, steps * each.get(name, 1))


def calls_of_a_suite(members: Sequence[Member], classes: int, norm: Norm, eps: float | None) -> Calls:
    """Of all members, one after another."""
    total = Calls(_LOOKS, 0)
    for member in members:
        of = {} if member.of is None else {"attack": member.of}
        plan = complete(member.attack, {**member.options, **of}, norm=_norm(member.attack, norm), eps=eps)
        total = total.plus(calls(member.attack, plan, classes))
    return total


def _norm(name: str, norm: Norm) -> Norm:
    """An attack for the smallest perturbation keeps to its own, whatever the ball's is."""
    return own_norm(name) if name in NEAREST_ATTACKS else norm


def calls_of_a_diagnosis(budget: Budget, transfers: bool) -> Calls:
    backward = budget.steps + budget.restarts * budget.restart_steps + budget.restart_steps + 20 * len(MULTIPLES) + 200
    backward += budget.linearity_restarts * budget.linearity_steps
    return Calls(3 * budget.queries + budget.noise_draws + budget.directions, backward + 100 * transfers)


def seconds(logits: Classifier, x: Tensor, asked: Calls) -> float:
    """For one image, in batches such as `x`: two calls are timed, after one of each that warms up."""
    spent = []
    for backward in (False, True):
        if backward and not asked.backward:
            spent.append(0.0)
            continue
        for _ in range(2):
            start = perf_counter()
            _call(logits, x, backward)
        spent.append((perf_counter() - start) / len(x))
    return asked.forward * spent[0] + asked.backward * spent[1]


def _call(logits: Classifier, x: Tensor, backward: bool) -> None:
    with torch.inference_mode(False), torch.set_grad_enabled(backward):
        x = x.detach().clone().requires_grad_(backward)
        z = logits(x)
        if backward and z.requires_grad:
            torch.autograd.grad(z.sum(), x, allow_unused=True)
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)
