"""The inference form of a run: found once by a trial, kept in forms.json, and used by all that samples its model."""

from dataclasses import asdict, replace
from math import inf
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
from gambeson.smoothed.kept import differences

FAR_MORE = 10  # times the draws for which a form was found; a fixed budget after a grid is less


def form_for(target: Target, asked: Asked, draws: int, *, others: bool | None = False) -> Form:
    """The form for these wishes.

    What a run once found holds, as far as it is as wished: the clock would choose another one next time, and the
    certificates would be about another function. Only for far more work than it was found for is another one looked
    for. draws: how many noisy images are ahead. others: whether other processes share the work, None: where it pays.
    """
    device = device_of(target.model).type
    wishes = {name: value for name, value in {**asdict(asked), "device": device}.items() if value is not None}
    for entry in sorted(_known(target.run), key=_found_for, reverse=True):
        if wishes.items() <= entry["form"].items() and draws <= FAR_MORE * _found_for(entry):
            form = Form(**entry["form"])
            if differs := differences(entry["machine"], form):
                typer.echo(
                    f"form: {form}: found with {differs}; logits may differ in the last bits from what was certified "
                    f"there, and another form may be faster here: delete {_path(target.run)} to choose again",
                    err=True,
                )
            return form
    inspect(target.model, target.data)  # a model that is no fixed function is refused for that, not for its forms
    if others:
        asked = replace(asked, threads=asked.threads or 1)
    examples = _examples(target.data)
    trial = choose(target.model, examples, asked=asked, device=device, draws=draws, alone=others is False)
    tried = [tried.record() for tried in trial.tried]
    found = {"form": trial.form.settings(), "draws": draws, "machine": kind_of_machine(device, trial.form.compiled)}
    with target.run.writing():  # else a process that is refused later would have written over another's form
        write_json(_path(target.run), {"forms": [*_known(target.run), {**found, "tried": tried}]})
    if len(tried) > 1:
        rate = next(tried.images_per_second or 0.0 for tried in trial.tried if tried.form == trial.form)
        typer.echo(f"form: {trial.form}: {rate:,.0f} images/s without noise; {len(tried)} forms were tried")
    return trial.form


def _found_for(entry: dict[str, Any]) -> float:
    return float(entry.get("draws", inf))


def _known(run: Run) -> list[dict[str, Any]]:
    path = _path(run)
    return list(read_json(path)["forms"]) if path.exists() else []


def _path(run: Run) -> Path:
    return run.path / "forms.json"


def _examples(data: Dataset) -> torch.Tensor:
    """A few images and their negatives, so that one image is enough."""
    images = data.pixels(torch.arange(min(3, len(data))))
    return torch.cat([images, 1 - images])
