"""The smoothed classifier that is certified and attacked: one model, one noise, one inference form."""

import torch
from torch import Tensor, nn

from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.evaluation.plan import device_of
from gambeson.inference import Form, Served, rows_are_independent, serve
from gambeson.models.behaviour import first_line
from gambeson.noise import lattice, parse
from gambeson.smoothed.hard import Smoothed
from gambeson.types import Classifier


def smooth(model: Classifier, data: Dataset, *, noise: str, seed: int, form: Form | None, classes: int) -> Smoothed:
    """The smoothed classifier of `model` on the lattice of `data`; a form that is not eligible is refused."""
    grid = lattice(parse(noise), data.levels or 255)
    probe = data.pixels(torch.arange(min(2, len(data))))
    probe = torch.cat([probe, probe.flip(-1), 1 - probe])
    served = _running(model, [form] if form else default_forms(model), probe)
    if not rows_are_independent(served, probe.to(served.form.device)):
        raise UserError(
            f"form {served.form.settings()} is not eligible: an image's logits change when the other rows of the call "
            "change; choose another form (--dtype float32, --memory contiguous, another --batch), or remove from the "
            "model what mixes the images of a batch"
        )
    return Smoothed(served, grid, classes, seed)


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
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            failed = error
    raise UserError(
        f"the model does not run in the form {form.settings()} ({first_line(failed)}); choose another form "
        "(--memory contiguous for a model that calls .view, --dtype float32)"
    ) from failed
