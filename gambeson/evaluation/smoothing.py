"""The smoothed classifier of an evaluation, on the lattice of its data."""

import torch

from gambeson.data import Dataset
from gambeson.inference import Form, Served
from gambeson.noise import lattice, parse
from gambeson.smoothed import serving
from gambeson.smoothed.hard import Smoothed
from gambeson.types import Classifier


def smooth(model: Classifier, data: Dataset, *, noise: str, seed: int, form: Form | None, classes: int) -> Smoothed:
    """`serving.smooth` on the first images of `data`; float images without levels are put on the 8-bit lattice."""
    probe = data.pixels(torch.arange(min(2, len(data))))
    return serving.smooth(model, probe, noise=noise, levels=data.levels or 255, classes=classes, seed=seed, form=form)


def unserved(model: Classifier, data: Dataset, *, noise: str) -> Smoothed:
    """What is known of the smoothed classifier before any form is chosen: enough to plan with, never to be called."""
    grid = lattice(parse(noise), data.levels or 255)
    return Smoothed(Served(Form(), model, model), grid, max(2, len(data.classes)))
