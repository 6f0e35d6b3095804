"""One attack, by its name and options, on one batch."""

from typing import Any

import torch
from torch import Tensor

from gambeson.attacks import ATTACKS
from gambeson.attacks.result import Result
from gambeson.attacks.targets import least_likely, random_targets
from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.models.modes import device_of, evaluating, frozen
from gambeson.types import Ball, Classifier, Labels


def run(
    attack: str,
    logits: Classifier,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    targets: Tensor | None,
    keys: list[int],
    o: dict[str, Any],
) -> Result:
    if ball.eps == 0:  # an attack with no room: judged all the same, so that curves start at 0
        o = {**o, "step_size": None}
    if attack == "fgsm":
        return ATTACKS[attack](logits, x, y, ball=ball, step_size=o["step_size"], loss=o["loss"], targets=targets)
    return ATTACKS[attack](logits, x, y, ball=ball, targets=targets, keys=keys, **o)


def first_step(
    model: Classifier,
    data: Dataset,
    attack: str,
    ball: Ball,
    targeted: str | Labels | None,
    classes: int,
    o: dict[str, Any],
) -> None:
    """A step on one image, so that what the attack refuses is refused before anything is computed."""
    o = {**o, "steps": min(o["steps"], 1), "restarts": min(o["restarts"], 2)}
    x, y = data.pixels([0]).to(device_of(model)), data.labels[:1].to(device_of(model))
    first = targeted[:1] if isinstance(targeted, Tensor) else targeted
    with evaluating(model), frozen(model):
        run(attack, model, x, y, ball, targets_of(first, model, x, y, classes, [0]), [0], o)


def targets_of(
    targeted: str | Labels | None, logits: Classifier, x: Tensor, y: Tensor, classes: int, keys: list[int]
) -> Tensor | None:
    if targeted is None:
        return None
    if isinstance(targeted, Tensor):
        return targeted.to(y)
    if targeted == "random":
        return random_targets(y, classes, keys)
    if targeted == "least_likely":
        with torch.no_grad():
            return least_likely(logits, x, y)
    raise UserError(f"targeted is {targeted!r}; it must be random or least_likely, a class per image, or left out")
