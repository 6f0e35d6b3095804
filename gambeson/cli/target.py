"""What a command works on: a run folder, or a model of the user's own that gets one."""

import os
import re
import sys
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import torch
from torch import nn

from gambeson import __version__, models
from gambeson import recipe as recipes
from gambeson.data import Dataset, load
from gambeson.errors import RunError, UserError
from gambeson.evaluation.plan import inspect
from gambeson.machine import usable
from gambeson.models.modes import device_of
from gambeson.records import Run


@dataclass(frozen=True, eq=False)
class Target:
    """A run folder, its model (on the device, in evaluation mode) and the images to evaluate it on."""

    run: Run
    model: nn.Module
    data: Dataset
    rule: str

    def describe(self) -> dict[str, Any]:
        fields = {"dataset": self.data.name, "split": self.data.split, "rule": self.rule}
        return {**fields, "levels": self.data.levels, "fingerprint": self.data.fingerprint}


def resolve(
    target: str,
    *,
    data: str | None,
    data_dir: Path | None,
    split: str,
    every: int,
    limit: int | None,
    out: Path | None,
    factory: str | None,
    weights: Path | None,
    mean: str | None,
    std: str | None,
    device: str,
) -> Target:
    """`target` is a run folder, a weights file that Gambeson wrote, or package.module:factory."""
    place = usable(device)
    if Path(target).is_dir():
        run = Run.open(target)
        if out is not None and out.resolve() != run.path.resolve():
            raise UserError(
                f"--out is {out}, but {target} is a run folder and keeps its records itself: leave --out out, or "
                f"evaluate {target}/model.safetensors --data {data or run.header['dataset']} --out {out}"
            )
        name, model = data or run.header["dataset"], trained(run, factory, weights, mean, std)
        if name is None:
            raise UserError(f"{target} does not say which data it is for: give --data NAME")
        if name != (run.header["dataset"] or name):
            raise UserError(
                f"{target} is about {run.header['dataset']}, not {name}: evaluate its weights on other data in a "
                f"folder of their own, {target}/model.safetensors --data {name} --out RUN"
            )
        images = choose(name, data_dir, split, every, limit, **held_out(run))
        _number_classes(model, images)
    else:
        if factory is not None:
            raise UserError(f"--factory {factory} goes with a run folder; {target} is none: leave one of them out")
        model = _given(target, weights, mean, std)
        if data is None or out is None:
            raise UserError(
                f"{target} is not a run folder: give --data NAME and --out RUN (the folder for its records)"
            )
        if (out / "recipe.toml").exists() and not (out / "header.json").exists():
            raise UserError(f"{out} holds a training that has not ended: end it, or choose another --out")
        images = choose(data, data_dir, split, every, limit)
        _number_classes(model, images)
        logits, _ = inspect(model.to(place).eval(), images)  # a model that is refused leaves no folder
        known = header(out.resolve().name, model, images, place, model_name=target)
        names = [*known["classes"], *map(str, range(len(known["classes"]), logits))]  # float data may not know all
        run = Run.create(out, known | {"classes": names})
    return Target(run, model.to(place).eval(), images, subset_rule(split, every, limit))


def header(name: str, model: nn.Module, data: Dataset, device: str, **known: Any) -> dict[str, Any]:
    """What a run's header says: the model, the data that it was made for, and what it ran on."""
    return {
        "name": name,
        "method": known.get("method"),
        "method_settings": known.get("method_settings"),
        "dataset": data.name,
        "model": known.get("model_name"),
        "classes": list(data.classes),
        "shape": list(data.images.shape[1:]),
        "levels": data.levels,
        "seed": known.get("seed"),
        "model_hash": models.fingerprint(model),
        "data_hash": known.get("data_hash"),
        "versions": {
            "gambeson": __version__,
            "python": python_version(),
            **{package: version(package) for package in ("torch", "numpy", "scipy")},
        },
        "device": device,
        "threads": torch.get_num_threads(),
    }


def choose(
    name: str, data_dir: Path | None, split: str, every: int, limit: int | None, validation: int = 0, seed: int = 0
) -> Dataset:
    for option, value in (("--every", every), ("--limit", limit)):
        if value is not None and value < 1:
            raise UserError(f"{option} is {value}; it must be at least 1")
    chosen = load(name, split, data_dir=data_dir, validation=validation, seed=seed).every(every, limit)
    if not len(chosen):
        raise UserError(f"{name} {split}: no image is left with --every {every} --limit {limit}")
    return chosen


def subset_rule(split: str, every: int, limit: int | None) -> str:
    if every == 1:
        return f"all {split} images" if limit is None else f"the first {limit} {split} images"
    return f"every {every}th {split} image" + ("" if limit is None else f", the first {limit}")


OTHER_SEED = 1_000_003  # what an independently trained model's seed is away from the run's
RULE = re.compile(
    r"(?:all|every (?P<every>\d+)th|the first (?P<first>\d+)) (?P<split>\w+) images?(?:, the first (?P<limit>\d+))?"
)


def by_rule(data: Dataset, rule: str) -> Dataset:
    """The images that `subset_rule` put into these words."""
    found = RULE.fullmatch(rule)
    if found is None or found["split"] != data.split:
        raise RunError(
            f"the rule by which its {data.split} images were chosen is {rule!r}; `gambeson certify` writes no such rule"
        )
    limit = found["first"] or found["limit"]
    return data.every(int(found["every"] or 1), None if limit is None else int(limit))


def numbers(text: str, what: str) -> list[float]:
    """Comma-separated numbers; fractions are welcome: `0,8/255,0.1`."""
    try:
        return [float(Fraction(word.strip())) for word in text.split(",")]
    except (ValueError, ZeroDivisionError, OverflowError):
        raise UserError(
            f"{what} is {text!r}; give finite numbers separated by commas, for example 0,2/255,0.1"
        ) from None


def held_out(run: Run) -> dict[str, int]:
    """Which training images this run was validated on: its recipe knows."""
    if not (run.path / "recipe.toml").exists():
        return {}
    recipe = recipes.load(run.path)
    return {"validation": recipe.data.validation, "seed": recipe.seed}


def trained(run: Run, factory: str | None, weights: Path | None, mean: str | None, std: str | None) -> nn.Module:
    """The model that the run's header is about. Code is run because the user names it, never because the folder does:
    the folder may be somebody else's.
    """
    if (run.path / "model.safetensors").exists():
        if factory or weights or mean or std:
            raise UserError(
                f"{run.path} holds its own model, weights and normalisation; leave --factory, --weights, --mean and "
                "--std out"
            )
        model = models.load(run.path / "model.safetensors")
    else:
        named = factory or run.header["model"] or ""
        if factory is None and ":" in named:
            raise UserError(
                f"{run.path} does not hold its model, and what a folder names is not run: give --factory {named} if "
                "that is your own code, or code that you trust"
            )
        if ":" not in named:
            if weights is None and not Path(named).is_file():
                what = f"begun with {named}, which is not there" if named else "not told which model it is about"
                raise UserError(f"{run.path} was {what}: give --weights FILE, or --factory PACKAGE.MODULE:FACTORY")
            named, weights = str(weights or named), None
        model = _given(named, weights, mean, std)
    found = models.fingerprint(model)
    if found != run.header["model_hash"]:
        if not (run.path / "model.safetensors").exists():
            raise UserError(
                f"{run.path} is about {run.header['model']} with other weights or another normalisation: give the "
                "--weights, --mean and --std that it was begun with, or use another folder"
            )
        raise UserError(
            f"the model of {run.path} has changed since its header was written ({run.header['model_hash'][:12]}, "
            f"now {found[:12]}): its records would be about two models; restore it, or use another folder"
        )
    return model


def other_model(target: Target, named: str, data_dir: Path | None = None) -> nn.Module:
    """Another model for the same data, of a run folder, a weights file or a factory of the user's; "train" is one that
    is trained as this run was, from another seed, in its folder `independent`.
    """
    path = _trained_alike(target, data_dir) if named == "train" else Path(named)
    model = trained(Run.open(path), None, None, None, None) if path.is_dir() else _given(named, None, None, None)
    _number_classes(model, target.data)
    model = model.to(device_of(target.model)).eval()
    try:
        inspect(model, target.data)
    except UserError as wrong:
        raise UserError(f"--transfer is {named}; {wrong}") from None
    return model


def _number_classes(model: nn.Module, data: Dataset) -> None:
    """A black box that gives classes does not say how many there are."""
    for part in model.modules():
        if isinstance(part, models.BlackBox) and part.classes is None:
            part.classes = len(data.classes)


def _trained_alike(target: Target, data_dir: Path | None) -> Path:
    """Images that fool both models owe nothing to this one's gradients."""
    from gambeson.cli.prepare import train_run

    run = target.run
    if not (run.path / "recipe.toml").exists():
        raise UserError(f"{run.path} has no recipe to train a second model by: name one, --transfer RUN|MODEL")
    recipe = recipes.load(run.path)
    other = recipe.model_copy(update={"seed": recipe.seed + OTHER_SEED, "name": f"{recipe.name}-independent"})
    return Path(train_run(other, run.path / "independent", data_dir, device_of(target.model).type))


def _given(target: str, weights: Path | None, mean: str | None, std: str | None) -> nn.Module:
    if ":" in target:
        channel = [None if text is None else numbers(text, name) for text, name in ((mean, "--mean"), (std, "--std"))]
        model = models.from_factory(target, weights, mean=channel[0], std=channel[1])
        if (here := os.getcwd()) not in sys.path:
            sys.path.append(here)  # other processes have to find the model's class too; last, so that it hides nothing
        return model
    if Path(target).suffix == ".onnx":
        if weights is not None:
            raise UserError(f"{target} holds its own weights: leave --weights out")
        channel = [None if text is None else numbers(text, name) for text, name in ((mean, "--mean"), (std, "--std"))]
        return models.from_onnx(target, mean=channel[0], std=channel[1])
    if Path(target).is_file():
        return models.load(target)
    raise UserError(
        f"{target} is no run folder, no weights file and no package.module:factory; "
        "train a model with `gambeson train RECIPE --out RUN`"
    )
