"""Refuse wrong arguments of an attack early, with the remedy."""

from collections.abc import Callable, Sequence
from inspect import signature
from math import isfinite

import torch

from gambeson.errors import UserError
from gambeson.geometry import box_bounds
from gambeson.types import Box, Images, Labels


def check(
    x: Images,
    y: Labels,
    targets: Labels | None,
    towards: Labels | None = None,
    *,
    box: Box,
    keys: Sequence[int],
    steps: int,
    step_size: float | None,
    restarts: int,
    random_start: bool,
    rho: float = 0.5,
    calls: int = 1,
) -> None:
    """Raise UserError unless the arguments that attacks take make sense; waits for the device once."""
    if not 0 < rho < 1:
        raise UserError(f"rho is {rho}; it must be > 0 and < 1")
    for name, value in (("steps", steps), ("restarts", restarts), ("calls", calls)):
        if value < 1:
            raise UserError(f"{name} is {value}; it must be at least 1")
    if step_size is not None and not (isfinite(step_size) and step_size > 0):
        raise UserError(
            f"step_size is {step_size}; it must be finite and > 0: a length in the ball's norm, in pixel units"
        )
    if restarts > 1 and not random_start:
        raise UserError(f"restarts is {restarts} without random_start: all would be the same; turn random_start on")
    check_some(x, y, box=box, keys=keys)
    check_aims(x, y, targets, towards)


def stopping(attack: Callable[..., object], early_stop: bool) -> dict[str, bool]:
    """The option early_stop, where the attack has it."""
    return {"early_stop": early_stop} if "early_stop" in signature(attack).parameters else {}


def check_aims(x: Images, y: Labels, targets: Labels | None, towards: Labels | None) -> None:
    """Raise UserError unless at most one of `targets` and `towards` is given, a class per image and never its own."""
    if targets is not None and towards is not None:
        raise UserError(
            "targets and towards are both given; give targets where only that class is a success, towards where any is"
        )
    for name, classes in (("targets", targets), ("towards", towards)):
        if classes is None:
            continue
        _check_labels(name, classes, x)
        same = (classes == y).nonzero()[:, 0].tolist()
        if same:
            raise UserError(f"{name} equal the label for {len(same)} images (first: row {same[0]}); give another class")


def check_some(x: Images, y: Labels, *, box: Box, keys: Sequence[int], **numbers: float | None) -> None:
    """Raise UserError unless images, labels and keys go together, and every other number is at least 1, or None."""
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}; it must be at least 1")
    if not x.is_floating_point() or x.dim() < 2:
        raise UserError(f"images are {x.dtype} {tuple(x.shape)}; they must be floating point (N, C, H, W) in [0, 1]")
    if len(keys) != len(x):
        raise UserError(f"keys has {len(keys)} entries for {len(x)} images; give one integer per image")
    _check_labels("labels", y, x)
    if not bool(_inside(x, box)):
        raise UserError(
            f"images have values outside the box [{box.lower}, {box.upper}] (or NaN): smallest {float(x.min()):.6g}, "
            f"largest {float(x.max()):.6g}; give pixels in that box and make normalisation the classifier's first layer"
        )


def check_classes(logits: torch.Tensor, x: Images, y: Labels, targets: Labels | None) -> None:
    """Raise UserError unless `logits` are (N, K) for the N images and every label and target is a class 0 .. K-1."""
    if logits.dim() != 2 or len(logits) != len(x) or not logits.is_floating_point():
        raise UserError(
            f"the classifier returned {logits.dtype} {tuple(logits.shape)} for {len(x)} images, not logits (N, K)"
        )
    for name, classes in (("labels", y), ("targets", targets)):
        if classes is not None and len(x) and not bool(((classes >= 0) & (classes < logits.shape[1])).all()):
            raise UserError(
                f"{name} span {int(classes.min())} .. {int(classes.max())} but the classifier has {logits.shape[1]} "
                f"classes, 0 .. {logits.shape[1] - 1}; check that the classifier belongs to this data"
            )


def _inside(x: Images, box: Box) -> torch.Tensor:
    lower, upper = box_bounds(box, x.dtype)
    return ((x >= lower) & (x <= upper)).all()


def _check_labels(name: str, classes: Labels, x: Images) -> None:
    if classes.dtype != torch.int64 or classes.shape != (len(x),):
        raise UserError(f"{name} are {classes.dtype} {tuple(classes.shape)}; they must be int64 ({len(x)},)")
