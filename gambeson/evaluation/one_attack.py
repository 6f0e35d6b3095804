"""What an attack is tried on before it starts, and whom it aims at."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gambeson.attacks.by_name import cheapest, run
from gambeson.attacks.search import NoGradient, gradient_to
from gambeson.attacks.targets import least_likely, random_targets
from gambeson.errors import UserError
from gambeson.models.fingerprint import fingerprint
from gambeson.types import Classifier, Images, Labels, Norm


def first_step(
    logits: Classifier,
    x: Images,
    y: Labels,
    name: str,
    options: Mapping[str, Any],
    *,
    norm: Norm,
    eps: float | None,
    targeted: str | Labels | None,
    classes: int,
    source: Classifier | None = None,
) -> None:
    """The attack on one image with next to no budget, so that what it refuses is refused before anything is done.

    logits: of that image, as the attack will see them.
    """
    first = targeted[:1] if isinstance(targeted, Tensor) else targeted
    targets = targets_of(first, logits, x, y, classes, [0])
    run(name, cheapest(options), logits, x, y, norm=norm, eps=eps, targets=targets, keys=[0], source=source)


def differentiable(logits: Classifier, x: Images) -> bool:
    """Whether the logits of images carry any gradient to them."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_()
        try:
            gradient_to(x, logits(x))
        except NoGradient:
            return False
        return True


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
