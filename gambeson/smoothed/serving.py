"""From a model to the smoothed classifier that is served: one noise, one lattice, one eligible inference form."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from gambeson.errors import UserError, first_line, out_of_memory
from gambeson.inference import Form, Served, serve
from gambeson.inference.eligible import positions_are_alike, refusal
from gambeson.models.modes import device_of
from gambeson.noise import Lattice, lattice, parse
from gambeson.sampling import to_lattice
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.procedure import Ask
from gambeson.types import Classifier


def smooth(
    model: Classifier, images: Tensor, *, noise: str, levels: int, classes: int, seed: int, form: Form | None
) -> Smoothed:
    """The smoothed classifier of `model`; a form that is not eligible is refused, and one whose calls do not fit into
    memory fails now, not later.

    images: float (N, C, H, W) in [0, 1], one or two as an example of what it will see. levels: of the pixel lattice.
    form: None takes float32, channels_last where the model runs so.
    """
    grid = lattice(parse(noise), levels)
    probe = examples(images, grid)
    served = _running(model, [form] if form else default_forms(model), probe)
    probe = probe.to(served.form.device)
    if why := refusal(served, probe):
        raise UserError(
            f"the form {served.form} is not eligible: {why}; certify in another form (--dtype float32, --memory "
            "contiguous, another --batch), or remove from the model what mixes the images of a batch"
        )
    if not positions_are_alike(served, probe):
        served = replace(served, positions="mixture")
    smoothed = Smoothed(served, grid, classes, seed)
    smoothed.answer(images[0], 0, Ask("call", 0, served.form.batch), "form")
    return smoothed


def examples(images: Tensor, noise: Lattice) -> Tensor:
    """What forms are tried on: noisy copies (n, C, H, W) of the first images and of their negatives, so that one image
    is enough.
    """
    cells = to_lattice(torch.cat([images[:2], 1 - images[:2]]), noise.levels).cpu().numpy().astype(noise.dtype)
    copies = [noise.block(one, ("form", "example", row), row, 1) for row, one in enumerate(cells)]
    return torch.from_numpy(np.concatenate(copies)).float() / noise.unit


def default_forms(model: Classifier) -> list[Form]:
    """What is tried when no form is asked for: channels_last is faster, but not every model can be called so."""
    memories = ("channels_last", "contiguous") if isinstance(model, nn.Module) else ("contiguous",)
    return [
        Form("float32", memory, 200, torch.get_num_threads(), device_of(model).type)  # type: ignore[arg-type]
        for memory in memories
    ]


def _running(model: Classifier, forms: list[Form], probe: Tensor) -> Served:
    """`model` in the first of `forms` in which it runs at all."""
    for form in forms:
        served = serve(model, form)
        try:
            served(probe[:1].to(form.device).expand(form.batch, *probe.shape[1:]))
            return served
        except Exception as error:
            if out_of_memory(error):
                raise
            failed = error
    raise UserError(
        f"the model does not run in the form {form} ({first_line(failed)}); certify in another form "
        "(--memory contiguous for a model that calls .view, --dtype float32)"
    ) from failed
