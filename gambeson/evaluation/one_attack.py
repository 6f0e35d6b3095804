"""What an attack is tried on before it starts, and whom it aims at."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gambeson.attacks.by_name import cheapest, run
from gambeson.attacks.search import NoGradient, gradient_to
from gambeson.attacks.targets import least_likely, random_targets
from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.evaluation.plan import inspect
from gambeson.models.fingerprint import fingerprint
from gambeson.models.modes import device_of, under_attack
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


def check_source(source: Classifier | None, model: Classifier, data: Dataset) -> None:
    """Refuse another classifier that no images can be made on, or that is the attacked one itself."""
    if source is None:
        return
    inspect(source, data)
    if source is model or (isinstance(source, nn.Module) and named(source) == named(model)):
        raise UserError("source is the model itself: images are no transfer then; give another one")
    x = data.pixels([0]).to(device_of(source))
    with under_attack(x, source):
        if not differentiable(source, x):
            raise UserError(
                "source has no gradient, and images that transfer are made with one: give a model that can be "
                "differentiated (--transfer)"
            )


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
    raise UserError(
        f"targeted is {targeted!r}; it must be random or least_likely, an int64 tensor (N,) with a class per image, or "
        "left out"
    )


def named(source: Classifier) -> str:
    """Which classifier adversarial images are made on, for the settings: a hash of its weights, or its name."""
    if isinstance(source, nn.Module):
        return fingerprint(source)
    return str(getattr(source, "__qualname__", type(source).__qualname__))
