"""The inference form of a run: found once by a trial, kept in forms.json, and used by all that samples its model."""

from collections.abc import Mapping
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


def form_for(target: Target, asked: Asked, draws: int, *, shared: bool = False) -> Form:
    """The form for these wishes.

    What a run once found holds for good, as far as it is as wished: the clock would choose another one next time, and
    the certificates would be about another function. draws: how many noisy images are ahead. shared: several processes
    will do the work; what is found for them has one thread, unless threads are asked for.
    """
    device = device_of(target.model).type
    wishes = {name: value for name, value in {**asdict(asked), "device": device}.items() if value is not None}
    for entry in _known(target.run):
        if wishes.items() <= entry["form"].items():
            form = Form(**entry["form"])
            if differs := _differs(entry["machine"], form):
                typer.echo(
                    f"form: {form}: found with {differs}; logits may differ in the last bits from what was certified "
                    f"there, and another form may be faster here: delete {_path(target.run)} to choose again",
                    err=True,
                )
            return form
    inspect(target.model, target.data)  # a model that is no fixed function is refused for that, not for its forms
    if shared:
        asked = replace(asked, threads=asked.threads or 1)
    trial = choose(target.model, _examples(target.data), asked=asked, device=device, draws=draws)
    if len(trial.tried) > 1:  # a single one was not chosen by the clock
        tried = [tried.record() for tried in trial.tried]
        found = {"form": trial.form.settings(), "machine": kind_of_machine(device, trial.form.compiled), "tried": tried}
        with target.run.writing():  # else a process that is refused later would have written over another's form
            write_json(_path(target.run), {"forms": [*_known(target.run), found]})
        rate = next(tried.images_per_second or 0.0 for tried in trial.tried if tried.form == trial.form)
        typer.echo(f"form: {trial.form}: {rate:,.0f} images/s without noise; {len(tried)} forms were tried")
    return trial.form


def kept_form(run: Run, noise: str, device: str) -> Form | None:
    """The form in which the vote under `noise` was certified last, to predict with the very function that was
    certified; None where it was not. Says on stderr what is not the same here: then the answers are those of the same
    classifier up to the last bits of its logits.
    """
    about = [found for found in run.evaluations("certified") if found["settings"]["noise"] == noise]
    votes = [found for found in about if found["settings"].get("smoothing", "hard") == "hard"]
    if not votes:
        what = "the classifier by mean scores was certified, and this one" if about else "this classifier"
        typer.echo(f"note: predict answers by the vote; {what} was not certified with {noise}", err=True)
        return None
    form = replace(Form(**votes[-1]["settings"]["form"]), device=device)
    if differs := _differs(votes[-1]["machine"], form):
        typer.echo(
            f"note: {votes[-1]['id']} was certified with {differs}: logits may differ in the last bits", err=True
        )
    return form


def _differs(recorded: Mapping[str, Any] | None, form: Form) -> str:
    """In what this machine differs from one that was recorded, as far as logits in this form depend on it."""
    here = kind_of_machine(form.device, form.compiled)
    then = recorded or {}
    return ", ".join(
        f"{name} {then.get(name)} (now {value})" for name, value in here.items() if then.get(name) != value
    )


def _known(run: Run) -> list[dict[str, Any]]:
    path = _path(run)
    return list(read_json(path)["forms"]) if path.exists() else []


def _path(run: Run) -> Path:
    return run.path / "forms.json"


def _examples(data: Dataset) -> torch.Tensor:
    """A few images and their negatives, so that one image is enough."""
    images = data.pixels(torch.arange(min(3, len(data))))
    return torch.cat([images, 1 - images])
