"""predict: the smoothed classifier of a run on pictures of the user's own."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gambeson.cli.options import Factory, Mean, Std, Weights
from gambeson.errors import UserError

AT_ONCE = 64


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Picture files, or folders of them.")],
    model: Annotated[Path, typer.Option(help="Run folder.")],
    noise: Annotated[str | None, typer.Option(help="kind:scale (default: what it was trained with).")] = None,
    smoothing: Annotated[
        str, typer.Option(help="hard: the class with the most votes; soft: with the largest mean score.")
    ] = "hard",
    draws: Annotated[int, typer.Option(help="Noisy copies of each picture (with --radii: at most).")] = 1_000,
    alpha: Annotated[float, typer.Option(help="Error probability of each answer; it abstains otherwise.")] = 0.001,
    radii: Annotated[str | None, typer.Option(help="Also certify these radii: 0,0.25,0.5")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the noise (default: a secret one).")] = None,
    factory: Factory = None, weights: Weights = None, mean: Mean = None, std: Std = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda (default: as it was certified).")] = None,
) -> None:  # fmt: skip
    """Classify pictures by the smoothed classifier: tab-separated picture, class (or "abstains") and, with
    --radii, what is certified: `radius` around the picture as it is, against any smaller real-valued change, and
    `radius_on_lattice` against changes to a lattice point, as 8-bit images are.

    Example: gambeson predict photos/ --model runs/mnist-stability-0.50 --radii 0,0.25,0.5 --draws 10000
    """
    import warnings

    import torch

    from gambeson.cli.target import numbers, trained
    from gambeson.data.decode import decode
    from gambeson.records import Run
    from gambeson.reports.numbers import down
    from gambeson.smoothed.classifier import SmoothedClassifier

    run = Run.open(model)
    grid = None if radii is None else numbers(radii, "--radii")
    files = _files(images)
    pictures = [decode([(str(file), file.read_bytes())]) for file in files]
    for file, picture in zip(files, pictures, strict=True):
        if list(picture.shape[1:]) != run.header["shape"]:
            shape = f"{tuple(picture.shape[1:])}, the model takes {tuple(run.header['shape'])}"
            raise UserError(f"{file}: the picture is (channels, height, width) {shape}; convert and resize it")
    found = torch.cat(pictures)
    own = trained(run, factory, weights, mean, std)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        classifier = SmoothedClassifier.from_run(
            model, noise, smoothing=smoothing, model=own, device=device, seed=seed,  # type: ignore[arg-type]
        )  # fmt: skip
    for note in notes:
        typer.echo(f"note: {note.message}", err=True)
    names: list[Any] = run.header["classes"]
    with_radii = grid is not None or smoothing == "soft" or classifier.noise.startswith("splitting")
    head = "picture\tclass" + ("\tradius\tradius_on_lattice" if with_radii else "")
    for start in range(0, len(files), AT_ONCE):
        pixels = found[start : start + AT_ONCE].float() / 255
        if not with_radii:
            answers, certified = classifier.predict(pixels, draws, alpha), []
        else:
            result = classifier.certify(pixels, grid, draws=draws, alpha=alpha)
            answers, certified = result.predict, [result.radius, result.radius_on_lattice]
        if not start:
            typer.echo(head)
        for place, answer in enumerate(answers.tolist()):
            radii_found = "".join(f"\t{down(float(radius[place]), 4)}" for radius in certified)
            typer.echo(f"{files[start + place]}\t{'abstains' if answer == -1 else names[answer]}{radii_found}")


def _files(paths: list[Path]) -> list[Path]:
    found = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist; name picture files, or folders of them")
        inside = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
        found += [file for file in inside if not file.name.startswith(".")]
    if not found:
        raise UserError(f"{', '.join(map(str, paths))}: no picture is there; name picture files, or folders of them")
    return found
