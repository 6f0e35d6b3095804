"""The smoothed classifier of an evaluation, on the lattice of its data; float images are put on the 8-bit lattice."""

from dataclasses import replace
from functools import lru_cache

import torch

from gambeson.data import Dataset
from gambeson.inference import Form, Served
from gambeson.noise import lattice, parse
from gambeson.smoothed import serving
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.rounding import lattice_distance
from gambeson.types import Classifier

LEVELS = 255  # of the lattice that float images are put on


def smooth(model: Classifier, data: Dataset, *, noise: str, seed: int, form: Form | None, classes: int) -> Smoothed:
    """`serving.smooth` on the first images of `data`."""
    probe, levels = data.pixels(torch.arange(min(2, len(data)))), data.levels or LEVELS
    found = serving.smooth(model, probe, noise=noise, levels=levels, classes=classes, seed=seed, form=form)
    return replace(found, off=_off_lattice(data, found.certificates()[0].norm))


def unserved(model: Classifier, data: Dataset, *, noise: str) -> Smoothed:
    """What is known of the smoothed classifier before any form is chosen: enough to plan with, never to be called."""
    grid = lattice(parse(noise), data.levels or LEVELS)
    found = Smoothed(Served(Form(), model, model), grid, max(2, len(data.classes)))
    return replace(found, off=_off_lattice(data, found.certificates()[0].norm))


@lru_cache(maxsize=1)  # every smoothed classifier of a command is asked for the same images
def _off_lattice(data: Dataset, norm: str) -> float:
    """How far the farthest image lies off its lattice; 0 for images in whole levels."""
    return 0.0 if data.levels else max(lattice_distance(x, LEVELS)[norm] for x in data.pixels())
