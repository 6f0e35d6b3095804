"""Which smoothed classifier a run folder is about: its model, its noise, and the form in which it was certified."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from gambeson import machine, models
from gambeson.errors import UserError
from gambeson.inference import Form
from gambeson.records import Run


def kept_model(run: Run, model: nn.Module | None = None) -> nn.Module:
    """The model that the run's header is about, in evaluation mode. model: where the run does not hold its weights."""
    path = run.path / "model.safetensors"
    if model is None and not path.exists():
        raise UserError(f"{run.path} does not hold the weights of {run.header['model']}: give model=")
    found = models.load(path) if model is None else model
    if models.fingerprint(found) != run.header["model_hash"]:
        raise UserError(f"{run.path} is about a model with other weights, or another normalisation")
    return found.eval()


def trained_noise(run: Run) -> str:
    """The noise that a run was trained with, as its header says."""
    settings = run.header["method_settings"] or {}
    if not isinstance(settings.get("sigma"), int | float):
        trained = f"with sigma {settings['sigma']}" if "sigma" in settings else "without noise, as far as is known"
        raise UserError(f"{run.path} was trained {trained}: say which noise is meant (--noise gaussian:0.5)")
    return f"{settings.get('noise', 'gaussian')}:{settings['sigma']}"


def certified_form(run: Run, noise: str, device: str) -> Form | None:
    """The form in which the majority vote under `noise` was certified last, to predict with the very function that was
    certified; None where it was not. Warns of what is not the same here: then the answers are those of the same
    classifier up to the last bits of its logits.
    """
    about = [found for found in run.evaluations("certified") if found["settings"]["noise"] == noise]
    votes = [found for found in about if found["settings"].get("smoothing", "hard") == "hard"]
    if not votes:
        what = "the classifier by mean scores was certified, and this one" if about else "this classifier"
        warnings.warn(f"answers are by the vote; {what} was not certified with {noise}", stacklevel=3)
        return None
    form = replace(Form(**votes[-1]["settings"]["form"]), device=device)
    if differs := differences(votes[-1]["machine"], form):
        warnings.warn(
            f"{votes[-1]['id']} was certified with {differs}: logits may differ in the last bits", stacklevel=3
        )
    return form


def differences(recorded: Mapping[str, Any] | None, form: Form) -> str:
    """In what this machine differs from one that was recorded, as far as logits in this form depend on it."""
    here = machine.kind_of_machine(form.device, form.compiled)
    return machine.differences(recorded or {}, here, apart=machine.NOISE)
