"""Guard rails: the field's most frequent mistakes with a model and its inputs, each with its remedy."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from gambeson.errors import UserError, first_line, out_of_memory
from gambeson.models.behaviour import accuracy, answer, probabilities, repeats, splits
from gambeson.models.flag import Flag, refuse
from gambeson.models.given import labels, pixels, training
from gambeson.models.iterates import iterates
from gambeson.models.modes import evaluating
from gambeson.types import Classifier, Images, Labels

ROWS = 8  # images on which behaviour is tried: together, once more, and one by one
LABELLED = 100  # fewer labels say little about chance


@torch.no_grad()
def check(model: Classifier, x: Images, y: Labels | None, classes: int) -> list[Flag]:
    """Try `model` on a few images and say what is wrong; an empty list is what an honest model gets.

    Args: `model` images -> logits, as the user hands it over (its training mode is one of the things looked at); `x`
    (N, C, H, W), images of the data set in [0, 1]; `y` (N,) their labels, or None; `classes` how many there are.
    Looks for: inputs that are not pixels in [0, 1], labels outside 0..classes-1, training mode left on, an answer that
    is not (N, classes) finite logits, probabilities instead of logits, an answer that changes from call to call or with
    the other images of the batch, a search while it answers, and (with >= 100 labels) an accuracy near chance.
    The model's modes and buffers and the global random generators are left as they were. What cannot be seen here:
    faults that show on other images only, a search without gradients or layers (such as rounds of median filters), and
    a model that notices that it is tested.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Softmax(1)).eval()
    >>> [flag.name for flag in check(net, torch.rand(8, 1, 2, 2), None, 2)]
    ['probabilities']

    Paper: Carlini et al. 2019, "On evaluating adversarial robustness"; Croce & Hein 2020, AutoAttack's own checks.
    """
    flags = [flag for flag in (pixels(x), labels(x, y, classes)) if flag]
    mode = [flag for flag in [training(model)] if flag]
    if flags:
        return flags + mode  # with wrong inputs, the model would be judged on what it is not for
    with undisturbed(model), evaluating(model):
        batch = torch.cat([x[:ROWS], 1 - x[:ROWS]])  # negatives as company, so that one image is enough
        try:
            logits = model(batch)
        except Exception as error:  # somebody else's code: anything may come out of it
            if out_of_memory(error):
                raise
            failure = f"the model fails on {describe(x)} ({first_line(error)}){expects(model)}"
            return [*mode, refuse("input_shape", failure)]
        if wrong := answer(logits, batch, classes):
            return [*mode, wrong]
        unsteady = repeats(model, batch, logits) or splits(model, batch, logits)  # what is random fails both
        chance = None
        if y is not None and len(x) >= LABELLED and not unsteady:
            chance = accuracy(model, x, y, classes)
        return mode + [flag for flag in (probabilities(logits), unsteady, iterates(model, batch), chance) if flag]


def require(model: Classifier, x: Images, y: Labels | None, classes: int) -> list[Flag]:
    """`check`, and a UserError that names every refusal; the doubts are returned for the record.

    >>> require(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval(), torch.rand(8, 1, 2, 2), None, 2)
    []
    """
    flags = check(model, x, y, classes)
    if refused := [flag.message for flag in flags if flag.severity == "refuse"]:
        raise UserError("; ".join(refused))
    return flags


def describe(x: Images) -> str:
    """Shape, type and place of some images."""
    return f"images of shape (N, {', '.join(map(str, x.shape[1:]))}), {x.dtype}, on {x.device}"


def expects(model: Classifier) -> str:
    """What the model takes, as far as its first layer tells."""
    made: Any = getattr(model, "architecture", None)  # what `build` leaves on its models
    built = f"; {made.name} was built for images of shape {made.shape}" if hasattr(made, "shape") else ""
    for name, layer in model.named_modules() if isinstance(model, nn.Module) else ():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            takes = f"{layer.in_channels} channels" if isinstance(layer, nn.Conv2d) else f"{layer.in_features} values"
            weight = layer.weight
            return f"{built}; its first layer {name!r} takes {takes}, {weight.dtype}, on {weight.device}"
    return built


@contextmanager
def undisturbed(model: Classifier) -> Iterator[None]:
    """Buffers and every global random generator as they were, also when an exception is raised."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()] if isinstance(model, nn.Module) else []
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  (a model may draw from it)
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        for buffer, before in buffers:
            buffer.copy_(before)
