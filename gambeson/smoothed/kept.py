"""Which smoothed classifier a run folder is about: its model, its noise, and the form in which it was certified."""

import copy
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from gambeson import machine, models
from gambeson.errors import UserError
from gambeson.inference import Form
from gambeson.inference.served import Positions
from gambeson.records import Run


def kept_model(run: Run, model: nn.Module | None = None) -> nn.Module:
    """The model that the run's header is about, in evaluation mode. model: where the run does not hold its weights."""
    path = run.path / "model.safetensors"
    if model is None and not path.exists():
        raise UserError(f"{run.path} does not hold the weights of {run.header['model']}: give model=")
    found = models.load(path) if model is None else copy.deepcopy(model)
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


def certified_as(run: Run, noise: str, smoothing: str, device: str | None) -> tuple[Form, Positions] | None:
    """The form in which the classifier under `noise` was certified last, to predict with the very function that was
    certified, and whether its rows are alike; None where it was not. device: another than the form's.

    An evaluation that is complete counts before one that is not, and one without records not at all. Warns of what is
    not the same here: then the answers are those of the same classifier up to the last bits of its logits.
    """
    records = run.recorded()
    about = [
        one for one in run.evaluations("certified") if one["settings"].get("noise") == noise and records[one["id"]]
    ]
    known = [one for one in about if one["settings"].get("smoothing", "hard") == smoothing]
    if not known:
        how = {"hard": "the vote", "soft": "the mean score"}
        other = f" ({how['soft' if smoothing == 'hard' else 'hard']} was)" if about else ""
        warnings.warn(f"answers are by {how[smoothing]}, which was not certified with {noise}{other}", stacklevel=3)
        return None
    last = ([one for one in known if records[one["id"]] >= one["examples"]] or known)[-1]
    form = Form(**last["settings"]["form"])
    form = replace(form, device=machine.usable(device or form.device))
    if differs := differences(last["machine"], form):
        warnings.warn(f"{last['id']} was certified with {differs}: logits may differ in the last bits", stacklevel=3)
    return form, last["settings"].get("positions", "alike")


def differences(recorded: Mapping[str, Any] | None, form: Form) -> str:
    """In what this machine differs from one that was recorded, as far as logits in this form depend on it."""
    here = machine.kind_of_machine(form.device, form.compiled)
    return machine.differences(recorded or {}, here, apart=machine.NOISE)
