"""The inference form of a run: found once by a trial, kept in forms.json, and used by all that samples its model."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import typer

from gambeson.cli.target import Target
from gambeson.data import Dataset
from gambeson.evaluation.plan import inspect
from gambeson.inference import Form
from gambeson.inference.trial import Asked, choose
from gambeson.jsonl import read_json, write_json
from gambeson.machine import kind_of_machine
from gambeson.models.modes import device_of
from gambeson.records import Run


def form_for(target: Target, asked: Asked, draws: int) -> Form:
    """The form for these wishes.

    What a run once found holds for good, as far as it is as wished: the clock would choose another one next time, and
    the certificates would be about another function. draws: how many noisy images are ahead.
    """
    device = device_of(target.model).type
    wishes = {name: value for name, value in {**asdict(asked), "device": device}.items() if value is not None}
    known = _known(target.run)
    for entry in known:
        if wishes.items() <= entry["form"].items():
            return Form(**entry["form"])
    inspect(target.model, target.data)  # a model that is no fixed function is refused for that, not for its forms
    trial = choose(target.model, _examples(target.data), asked=asked, device=device, draws=draws)
    if len(trial.tried) > 1:  # a single one was not chosen by the clock
        tried = [tried.record() for tried in trial.tried]
        found = {"form": trial.form.settings(), "machine": kind_of_machine(device, trial.form.compiled), "tried": tried}
        write_json(_path(target.run), {"forms": [*known, found]})
        rate = next(tried.images_per_second or 0.0 for tried in trial.tried if tried.form == trial.form)
        typer.echo(f"form: {trial.form}: {rate:,.0f} images/s without noise; {len(tried)} forms were tried")
    return trial.form


def kept_form(run: Run, noise: str, device: str) -> Form | None:
    """The form in which a run was certified last with `noise`, to predict with the very function that was certified."""
    about = [found["settings"] for found in run.evaluations("certified") if found["settings"]["noise"] == noise]
    return replace(Form(**about[-1]["form"]), device=device) if about else None


def _known(run: Run) -> list[dict[str, Any]]:
    path = _path(run)
    return list(read_json(path)["forms"]) if path.exists() else []


def _path(run: Run) -> Path:
    return run.path / "forms.json"


def _examples(data: Dataset) -> torch.Tensor:
    """A few images and their negatives, so that one image is enough."""
    images = data.pixels(torch.arange(min(3, len(data))))
    return torch.cat([images, 1 - images])
