"""The smoothed classifier of an evaluation, on the lattice of its data; float images are put on the 8-bit lattice."""

from dataclasses import replace

import torch

from gambeson.data import Dataset
from gambeson.inference import Form, Served
from gambeson.noise import lattice, parse
from gambeson.smoothed import serving
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.rounding import lattice_distance
from gambeson.types import Classifier


def smooth(model: Classifier, data: Dataset, *, noise: str, seed: int, form: Form | None, classes: int) -> Smoothed:
    """`serving.smooth` on the first images of `data`."""
    probe, levels = data.pixels(torch.arange(min(2, len(data)))), data.levels or 255
    found = serving.smooth(model, probe, noise=noise, levels=levels, classes=classes, seed=seed, form=form)
    return _beside(data, found)


def unserved(model: Classifier, data: Dataset, *, noise: str) -> Smoothed:
    """What is known of the smoothed classifier before any form is chosen: enough to plan with, never to be called."""
    grid = lattice(parse(noise), data.levels or 255)
    return _beside(data, Smoothed(Served(Form(), model, model), grid, max(2, len(data.classes))))


def _beside(data: Dataset, smoothed: Smoothed) -> Smoothed:
    if data.levels is not None:
        return smoothed
    norm = smoothed.certificates()[0].norm
    return replace(smoothed, off=max(lattice_distance(x, smoothed.noise.levels)[norm] for x in data.pixels()))
