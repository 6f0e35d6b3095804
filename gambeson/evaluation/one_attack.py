"""One attack, by its name and options, on one batch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gambeson.attacks import ATTACKS, NEAREST_ATTACKS
from gambeson.attacks.result import Result
from gambeson.attacks.targets import least_likely, random_targets
from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.evaluation.attack_options import COMPOSED, cheapest
from gambeson.models.fingerprint import fingerprint
from gambeson.models.modes import device_of, evaluating, frozen
from gambeson.types import Ball, Classifier, Labels, Norm


def run(
    name: str,
    options: Mapping[str, Any],
    logits: Classifier,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    eps: float | None,
    targets: Tensor | None,
    keys: list[int],
    source: Classifier | None = None,
) -> Result:
    """options: all of them, of `attack_options.complete`. eps: None of an attack for the smallest perturbation."""
    given: dict[str, Any] = {**options, "keys": keys}
    if targets is not None:
        given["targets"] = targets
    if name in COMPOSED:
        given |= {"attack": ATTACKS[given["attack"]], **given.pop("of")}
    if name == "transfer":
        given["source"] = source
    if name in NEAREST_ATTACKS:
        return NEAREST_ATTACKS[name](logits, x, y, **given, **({"norm": norm} if name in ("deepfool", "fmn") else {}))
    if eps == 0 and "step_size" in given:  # an attack with no room: judged all the same, so that curves start at 0
        given["step_size"] = None
    return ATTACKS[name](logits, x, y, ball=Ball(norm, eps or 0.0), **given)


def first_step(
    model: Classifier,
    data: Dataset,
    name: str,
    options: Mapping[str, Any],
    *,
    norm: Norm,
    eps: float | None,
    targeted: str | Labels | None,
    classes: int,
    source: Classifier | None = None,
) -> None:
    """The attack on one image with next to no budget, so that what it refuses is refused before anything is done."""
    x, y = data.pixels([0]).to(device_of(model)), data.labels[:1].to(device_of(model))
    first = targeted[:1] if isinstance(targeted, Tensor) else targeted
    with evaluating(model), frozen(model):
        targets = targets_of(first, model, x, y, classes, [0])
        try:
            run(name, cheapest(options), model, x, y, norm=norm, eps=eps, targets=targets, keys=[0], source=source)
        except TypeError as error:
            raise UserError(f"{name} does not take these options ({error}): check their types") from error


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


def named(source: Classifier) -> str:
    """Which classifier adversarial images are made on, for the settings: a hash of its weights, or its name."""
    if isinstance(source, nn.Module):
        return fingerprint(source)
    return str(getattr(source, "__qualname__", type(source).__qualname__))
