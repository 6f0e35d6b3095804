"""Recipes: TOML <-> a frozen typed structure. Knows no torch and no method's keys.

A recipe says everything that decides a training run's weights. `[method]` and `[model]` are free mappings here;
`build.py` checks them against the loss function's and the architecture's signature.
"""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gambeson.errors import UserError, nearest

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Augment(Section):
    """Pad by `crop` pixels and crop at random; flip left-right with probability 1/2."""

    crop: Annotated[int, Field(ge=0)] = 0
    flip: bool = False


class Data(Section):
    """Which images; `validation` of them are split off the training part by the recipe's seed."""

    name: Name
    validation: Annotated[int, Field(ge=0)] = 0
    augment: Augment = Augment()


class Named(Section):
    """A name and free keys: they are the options of whatever has that name."""

    model_config = ConfigDict(extra="allow")
    name: Name

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Model(Named):
    """`init` names a run or a weights file to start from (fine-tuning)."""

    init: Name | None = None


class Optimizer(Section):
    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _nesterov(self) -> "Optimizer":
        if self.nesterov and not (self.name == "sgd" and self.momentum > 0):
            raise ValueError("nesterov needs name = 'sgd' and momentum > 0")
        return self


class Schedule(Section):
    """The learning rate as a function of progress (0 at the first step, 1 after the last): training/schedules.py."""

    lr: Literal["constant", "step", "cosine", "one_cycle"] = "constant"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    milestones: list[Fraction] = []
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _milestones(self) -> "Schedule":
        if (self.lr == "step") != bool(self.milestones):
            raise ValueError("milestones go with lr = 'step', for example [0.5, 0.75], and with nothing else")
        if self.lr == "one_cycle" and self.warmup == 0:
            raise ValueError("lr = 'one_cycle' needs a warmup in (0, 1), for example 0.2")
        return self


class Train(Section):
    epochs: Positive = 10
    batch: Positive = 128
    precision: Literal["32-true", "bf16-mixed", "64-true"] = "32-true"
    channels_last: bool = False
    keep: Literal["last", "best"] = "last"
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 300.0
    linearity: Annotated[float, Field(ge=0)] = 0.0  # linf eps in which gamma is logged every epoch; 0 leaves it out
    ratio_steps: Annotated[int, Field(ge=0)] = 50  # fewer than 50 of each say little; 0 leaves the ratio out


class Recipe(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    data: Data
    model: Model
    method: Named
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    train: Train = Train()


def names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files("gambeson") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, or one of the package's by name, and apply `key=value` overrides.

    Args:
        source: a path that ends in .toml, a run folder (its recipe.toml), or a name from `names()`.
        overrides: "train.epochs=3", "method.sigma=0.5"; values are TOML, a bare word is a string.
    Raises:
        UserError: unknown name, key or value, in one line, with the allowed range or the nearest known word.

    >>> load("mnist-plain", ["train.epochs=3"]).train.epochs
    3
    """
    text, where = _read(source)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"recipe {where} is not TOML: {error}. Correct that line") from None
    return check(Recipe, overridden(tree, overrides), f"recipe {where}")


def overridden(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`tree` with "key=value" set: values are TOML, a bare word is a string, dots lead into sections.

    >>> overridden({}, ["queries=500", "loss=margin"])
    {'queries': 500, 'loss': 'margin'}
    """
    for override in overrides:
        _apply(tree, override)
    return tree


def dump(recipe: Recipe) -> str:
    """The whole recipe as TOML, defaults included; `load` reads it back to an equal recipe."""
    return tomli_w.dumps(recipe.model_dump(exclude_none=True))


Kind = TypeVar("Kind", bound=BaseModel)


def check(kind: type[Kind], values: Mapping[str, Any], what: str) -> Kind:
    """Validate `values` as a section; every mistake becomes one UserError of one line.

    >>> check(Train, {"epoch": 3}, "recipe")
    Traceback (most recent call last):
    gambeson.errors.UserError: recipe: unknown key epoch; did you mean epochs? Known: ...
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(f"{what}: " + "; ".join(_explain(kind, problem) for problem in error.errors())) from None


def _explain(kind: type[BaseModel], problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        prefix = ".".join(location[:-1])
        near = nearest(location[-1], _fields(kind, location[:-1]))
        return f"unknown key {key}; {near}" if not prefix else f"unknown key {key} in [{prefix}]; {near}"
    if problem["type"] == "missing":
        return f"{key} is missing; add it"
    if problem["type"] == "value_error":
        return f"{key or 'a section'}: {problem['ctx']['error']}"
    rule = problem["msg"].replace("Input should be", "it must be").replace("String should", "it should")
    return f"{key} is {problem['input']!r}; {rule}"


def _fields(kind: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The known keys of the section at `location`."""
    for part in location:
        inner = kind.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        kind = inner
    return list(kind.model_fields)


def _read(source: str | Path) -> tuple[str, str]:
    path = Path(source)
    if path.is_dir() and (path / "recipe.toml").is_file():
        path = path / "recipe.toml"
    if path.is_file():
        return path.read_text(), str(path)
    if path.suffix == ".toml" or len(path.parts) > 1:
        raise UserError(f"recipe {source} does not exist; known by name: {', '.join(names())}")
    if str(source) not in names():
        raise UserError(f"recipe {source} is not known; {nearest(str(source), names())}. A path must end in .toml")
    return (resources.files("gambeson") / "recipes" / f"{source}.toml").read_text(), str(source)


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one dotted key in `tree`, in place."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UserError(f"override {override!r} is not key=value; write for example train.epochs=3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for part in parts[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise UserError(f"override {override!r}: {part} holds a value, not a section; set {part} itself")
    tree[parts[-1]] = value
