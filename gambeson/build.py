"""From a recipe to objects: checks the method's and the model's keys first, then reads data and builds the model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gambeson import data, losses, models
from gambeson import recipe as recipes
from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.keys import key
from gambeson.losses import Loss
from gambeson.recipe import Model, Recipe
from gambeson.training import Progress, TrainResult, train
from gambeson.training.plan import check_keys
from gambeson.training.schedules import values


@dataclass(frozen=True, eq=False)
class Objects:
    """What a recipe describes; `validation` is None when the recipe holds nothing out."""

    recipe: Recipe
    loss: Loss
    model: nn.Module
    train: Dataset
    validation: Dataset | None


def check(recipe: Recipe) -> Loss:
    """Refuse what a recipe file cannot know to be wrong: method and model names, keys and values. Reads no data.

    >>> check(recipes.load("mnist-plain", ["method.sigma=0.5"]))
    Traceback (most recent call last):
    gambeson.errors.UserError: method plain has no key sigma; Known: none
    """
    loss = losses.get(recipe.method.name, recipe.method.options)
    check_keys(loss, recipe.method.options)
    rehearse(loss, recipe.method.options)
    check_model(recipe.model)
    if recipe.train.keep == "best" and recipe.data.validation == 0:
        raise UserError("train.keep is 'best', which needs images held out: set data.validation, for example 1000")
    if recipe.train.linearity > 0 and recipe.data.validation == 0:
        raise UserError("train.linearity is measured on images held out: set data.validation, for example 1000")
    return loss


def check_model(spec: Model) -> None:
    """The architecture's name, options and values, on a device without memory; and that `init` is there."""
    mean = spec.options.get("mean", [0.0])
    channels = len(mean) if isinstance(mean, list) else 1
    try:
        with torch.device("meta"):
            models.build(spec.name, classes=10, shape=(channels, 32, 32), **spec.options)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"model {spec.name} does not take these options: {error}") from None
    if spec.init is not None and not weights_of(spec.init).is_file():
        raise UserError(f"model.init: {weights_of(spec.init)} does not exist; name a run folder or a weights file")


def weights_of(source: str) -> Path:
    """The weights file of a run folder, or the file itself."""
    path = Path(source)
    return path / "model.safetensors" if path.is_dir() else path


def rehearse(loss: Loss, options: Mapping[str, Any]) -> None:
    """Call the loss on four made-up images at the ends of its schedules: a bad value shows before data is read."""
    with torch.random.fork_rng([]):
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    x, y = torch.full((4, 1, 2, 2), 0.5), torch.tensor([0, 1, 0, 1])
    for progress in (0.0, 1.0):
        try:
            loss({"model": model}, x, y, state={}, generator=torch.Generator(), **values(options, progress))
        except UserError:
            raise
        except (TypeError, ValueError) as error:
            raise UserError(f"method {loss.__name__} does not take these values: {error}") from None


def from_recipe(recipe: Recipe, data_dir: str | Path | None = None) -> Objects:
    """Check the recipe, read its images, build its model: weights from the seed, or from `model.init`."""
    loss = check(recipe)
    spec = recipe.data
    images = data.load(spec.name, "train", data_dir=data_dir, validation=spec.validation, seed=recipe.seed)
    held = None
    if spec.validation:
        held = data.load(spec.name, "validation", data_dir=data_dir, validation=spec.validation, seed=recipe.seed)
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(key(recipe.seed, "initial weights") % 2**63)
        channels, height, width = images.images.shape[1:]
        model = models.build(
            recipe.model.name, classes=len(images.classes), shape=(channels, height, width), **recipe.model.options
        )
    if recipe.model.init is not None:
        models.load_weights(model, weights_of(recipe.model.init))
    return Objects(recipe, loss, model, images, held)


def train_recipe(
    recipe: Recipe,
    *,
    run: str | Path | None,
    data_dir: str | Path | None = None,
    device: str = "auto",
    devices: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainResult:
    """Train what `recipe` describes, into the folder `run` (resumed when it holds the same recipe's run).

    >>> train_recipe(recipes.load("digits-plain", ["train.epochs=1"]), run=None).metrics[-1]["epoch"]
    1
    """
    objects = from_recipe(recipe, data_dir)
    if run is not None and not (Path(run) / "recipe.toml").exists():
        Path(run).mkdir(parents=True, exist_ok=True)
        (Path(run) / "recipe.toml").write_text(recipes.dump(recipe))
    result = train(
        objects.model,
        objects.train,
        loss=objects.loss,
        method=recipe.method.options,
        validation=objects.validation,
        optimizer=recipe.optimizer.model_dump(),
        schedule=recipe.schedule.model_dump(),
        augment=recipe.data.augment.model_dump(),
        seed=recipe.seed,
        run=run,
        device=device,
        devices=devices,
        on_progress=on_progress,
        identity=recipe.model_dump(),
        **recipe.train.model_dump(),
    )
    if run is not None and result.rank == 0:
        (Path(run) / "recipe.toml").write_text(recipes.dump(recipe))
    return result
