"""The inference form of a run: found once by a trial, kept in forms.json, and used by all that samples its model."""

from collections.abc import Callable
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import torch
import typer

from gambeson.cli.target import Target
from gambeson.errors import first_line, out_of_memory
from gambeson.evaluation.plan import inspect
from gambeson.inference import Form
from gambeson.inference.trial import Asked, choose
from gambeson.jsonl import read_json, write_json
from gambeson.machine import kind_of_machine
from gambeson.models.modes import device_of
from gambeson.noise import Lattice
from gambeson.partial import Partial
from gambeson.records import Run
from gambeson.schema import as_forms
from gambeson.smoothed.kept import differences
from gambeson.smoothed.serving import examples

FAR_MORE = 10  # times the draws for which a form was found; a fixed budget after a grid is less
Made = TypeVar("Made")


def form_for(target: Target, asked: Asked, noise: Lattice, draws: int, *, others: bool | None = False) -> Form:
    """The form for these wishes.

    What a run once found holds, as far as it is as wished: the clock would choose another one next time, and the
    certificates would be about another function. Only for far more work than it was found for is another one looked
    for. noise: what it is tried under. draws: how many noisy images are ahead. others: whether other processes share
    the work, None: where it pays.
    """
    device = device_of(target.model).type
    wishes = {name: value for name, value in {**asdict(asked), "device": device}.items() if value is not None}
    for entry in _known(target.run):  # the first: what came later changes nothing for a command that is given again
        as_wished = wishes.items() <= entry["form"].items() or entry.get("asked") == wishes
        if as_wished and draws <= FAR_MORE * _found_for(entry):
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
    shown = examples(target.data.pixels(torch.arange(min(2, len(target.data)))), noise)
    trial = choose(target.model, shown, asked=asked, device=device, draws=draws, alone=others is False)
    tried = [tried.record() for tried in trial.tried]
    found = {"form": trial.form.settings(), "draws": draws, "machine": kind_of_machine(device, trial.form.compiled)}
    with target.run.writing():  # else a process that is refused later would have written over another's form
        write_json(_path(target.run), {"forms": [*_known(target.run), {**found, "asked": wishes, "tried": tried}]})
    if len(tried) > 1:
        rate = next(tried.images_per_second or 0.0 for tried in trial.tried if tried.form == trial.form)
        typer.echo(f"form: {trial.form}: {rate:,.0f} images/s without noise; {len(tried)} forms were tried")
    return trial.form


def fitting(run: Run, form: Form, make: Callable[[Form], Made]) -> Made:
    """What `make` makes of the form, with half the rows as long as it runs out of memory; what fits is kept.

    Once anything was counted in a form it is not changed: what was counted would be lost, the evaluation would never
    end, and others be about another function.
    """
    fits = form
    while True:
        try:
            return make(fits)
        except Exception as error:
            if not out_of_memory(error) or _counted(run, fits):
                raise
            if fits.batch == 1:
                _keep(run, fits, form)  # the rows are not to blame
                raise
            smaller = replace(fits, batch=fits.batch // 2)
            typer.echo(f"form: {first_line(error)}: with {smaller.batch} images a call from now on", err=True)
            _keep(run, fits, smaller)
            fits = smaller


def _keep(run: Run, before: Form, now: Form) -> None:
    """`now` instead of `before`, in which nothing was counted: what was begun in it goes too."""
    with run.writing():
        for name in _begun(run, before):
            (run.path / "evaluations" / f"{name}.json").unlink()
        changed = {"form": now.settings()}
        forms = [entry | changed if Form(**entry["form"]) == before else entry for entry in _known(run)]
        write_json(_path(run), {"forms": forms})


def _counted(run: Run, form: Form) -> bool:
    """Whether there is a record in this form, or a count of what is not finished."""
    partial = run.path / "partial.jsonl"
    return any(run.records(name) or any(Partial(partial, name).read()) for name in _begun(run, form))


def _begun(run: Run, form: Form) -> list[str]:
    """The evaluations in this form."""
    forms = ((found["id"], found["settings"].get("form")) for found in run.evaluations())
    return [name for name, settings in forms if settings and Form(**settings) == form]


def _found_for(entry: dict[str, Any]) -> float:
    return float(entry.get("draws", inf))


def _known(run: Run) -> list[dict[str, Any]]:
    path = _path(run)
    return list(as_forms(read_json(path), str(path))["forms"]) if path.exists() else []


def _path(run: Run) -> Path:
    return run.path / "forms.json"
