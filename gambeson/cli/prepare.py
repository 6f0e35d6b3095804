"""train, list, data fetch: what comes before an evaluation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gambeson.errors import UserError

if TYPE_CHECKING:
    from gambeson.data import Dataset
    from gambeson.recipe import Recipe

WHAT = ("methods", "attacks", "certificates", "datasets", "models", "recipes")


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (`gambeson list recipes`) or a TOML file.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override: train.epochs=3")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder (default: runs/NAME).")] = None,
    init: Annotated[str | None, typer.Option(help="Fine-tune: start from a RUN folder or a weights file.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where data is looked for first.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    devices: Annotated[int, typer.Option(help="Processes that share each batch.")] = 1,
) -> None:
    """Train what a recipe describes; the same command resumes a run that was stopped, to the same weights.

    Example: gambeson train mnist-stability-0.50 --set train.epochs=5 --out runs/mine
    """
    from gambeson import recipe as recipes

    chosen = recipes.load(recipe, [*(settings or []), *([f'model.init="{init}"'] if init else [])])
    run = train_run(chosen, out or Path("runs") / chosen.name, data_dir, device, devices)
    typer.echo(f"trained {chosen.name}: {run}")


def train_run(chosen: "Recipe", out: Path, data_dir: Path | None, device: str, devices: int = 1) -> Path:
    """Train into `out` with progress, then write the run's header."""
    from gambeson import build, models
    from gambeson.cli.target import header
    from gambeson.data import load
    from gambeson.machine import usable
    from gambeson.records import Run

    if (out / "header.json").exists() and not (out / "recipe.toml").exists():
        raise UserError(f"{out} is a run of a model that was not trained there: choose another --out")
    bar = _Bar(f"train {chosen.name}")
    place = usable(device)
    try:
        result = build.train_recipe(
            chosen, run=out, data_dir=data_dir, device=place, devices=devices, on_progress=bar.tell
        )
    finally:
        bar.close()
    if result.rank != 0:  # one process writes
        return out
    data: Dataset = load(
        chosen.data.name, "train", data_dir=data_dir, validation=chosen.data.validation, seed=chosen.seed
    )
    known = {
        "method": chosen.method.name,
        "method_settings": chosen.method.options,
        "model_name": chosen.model.name,
        "seed": chosen.seed,
        "data_hash": data.fingerprint,
    }
    trained = models.load(out / "model.safetensors")
    if not (out / "header.json").exists():  # a finished run keeps the machine that it was trained on
        Run.create(out, header(out.resolve().name, trained, data, place, **known))
    accuracy = result.metrics[-1].get("validation_accuracy")
    if accuracy is not None:
        typer.echo(f"{chosen.name}: validation accuracy {accuracy:.3f}, {result.cost['train_seconds']:.0f} s")
    return out


def ensemble(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders or weights files.")],
    out: Annotated[Path, typer.Option(help="The weights file to write.")] = Path("ensemble.safetensors"),
) -> None:
    """Put several trained networks into one file: their mean logits are one classifier for every other command.

    Example: gambeson ensemble runs/a runs/b runs/c --out three.safetensors
    """
    from gambeson import models
    from gambeson.build import weights_of

    members = []
    for run in runs:
        if not (file := weights_of(run)).is_file():
            raise UserError(f"{file} does not exist; name a run folder or a weights file")
        members.append(models.load(file))
    if out.suffix != ".safetensors":
        raise UserError(f"--out is {out}; its name must end in .safetensors")
    models.save(models.ensemble(members), out)
    typer.echo(f"{len(members)} networks: {out}; next: gambeson certify {out} --data NAME --out RUN")


def fetch(
    name: Annotated[str, typer.Argument(help="Data set: mnist, fashion-mnist, cifar10.")],
    data_dir: Annotated[Path | None, typer.Option(help="Where to put it (default: the user cache).")] = None,
) -> None:
    """Download a data set from its publisher and check every file.

    Example: gambeson data fetch mnist
    """
    from gambeson import data

    told: dict[str, int] = {}

    def tell(file: str, done: int, total: int | None) -> None:
        if done - told.get(file, 0) >= 5_000_000 or done == total:
            told[file] = done
            typer.echo(
                f"{file}: {done / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"{file}: {done / 1e6:.1f} MB",
                err=True,
            )

    typer.echo(f"{name}: {data.fetch(name, data_dir, on_progress=tell)}")


def show(what: Annotated[str, typer.Argument(help=" | ".join(WHAT))]) -> None:
    """Say which methods, attacks, certificates, data sets, models or recipes there are.

    Example: gambeson list recipes
    """
    if what not in WHAT:
        raise UserError(f"list {what!r}: it must be one of {', '.join(WHAT)}")
    for name, meaning in _described(what).items():
        typer.echo(f"{name:32} {meaning}".rstrip())


def _described(what: str) -> dict[str, str]:
    """Each name with one line that says what it is."""
    from importlib import import_module

    if what == "recipes":
        recipes = import_module("gambeson.recipe")
        known = {name: recipes.load(name) for name in recipes.names()}
        return {name: f"{r.method.name} training of {r.model.name} on {r.data.name}" for name, r in known.items()}
    if what == "datasets":
        return dict.fromkeys(import_module("gambeson.data").names(), "")
    if what == "certificates":
        found = import_module("gambeson.certificates").CERTIFICATES
        return {name: f"{c.norm} for {c.noise} noise: {c.title}, {c.paper}" for name, c in found.items()}
    home = import_module(
        {"methods": "gambeson.losses", "attacks": "gambeson.attacks", "models": "gambeson.models"}[what]
    )
    return {name: _first_line(getattr(home, name)) for name in sorted(home.__all__)}


def _first_line(thing: Any) -> str:
    return str(thing.__doc__).strip().splitlines()[0]


class _Bar:
    """Training progress: opened at the first report, because only then the number of steps is known."""

    def __init__(self, title: str) -> None:
        self.title, self.context, self.tick = title, None, None  # type: Any, Any, Any

    def tell(self, p: Any) -> None:
        from gambeson.cli.progress import progress

        if self.context is None:
            self.context = progress(self.title, p.steps, "steps", done=p.step)
            self.tick = self.context.__enter__()
        accuracy = "" if p.validation_accuracy is None else f", validation {p.validation_accuracy:.3f}"
        self.tick(
            p.step, f"epoch {p.epoch}/{p.epochs}, loss {p.loss:.3f}, {p.images_per_second:,.0f} images/s{accuracy}"
        )

    def close(self) -> None:
        if self.context is not None:
            self.context.__exit__(None, None, None)
