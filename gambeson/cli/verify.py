"""verify: a run folder is evidence; anybody can check it again."""

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gambeson.cli.options import DataDir, Device, Factory, Mean, Std, Weights
from gambeson.errors import RunError, UserError

if TYPE_CHECKING:
    from gambeson.data import Dataset


def verify(
    target: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
    images: Annotated[int, typer.Option(help="Images whose claims are judged on fresh noise, chosen at random.")] = 50,
    draws: Annotated[int, typer.Option(help="Fresh draws for each of them.")] = 10_000,
    seed: Annotated[int | None, typer.Option(help="Seed of images and noise (default: one nobody knows yet).")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Data set, where it is not where the run had it.")] = None,
    data_dir: DataDir = None, factory: Factory = None, weights: Weights = None, mean: Mean = None, std: Std = None,
    device: Device = "auto",
) -> None:  # fmt: skip
    """Check somebody's certificates: hashes, bounds from their counts, and claims on fresh, independent noise.

    Example: gambeson verify runs/mnist-stability-0.50 --images 100
    """
    from gambeson.cli.evidence import verdict_on
    from gambeson.cli.progress import progress
    from gambeson.cli.target import choose, held_out, trained
    from gambeson.jsonl import write_json
    from gambeson.machine import usable
    from gambeson.records import Run
    from gambeson.stats import MOST_DRAWS

    if images < 1 or not 1 <= draws <= MOST_DRAWS:
        raise UserError(
            f"--images is {images} and --draws {draws}; both must be at least 1, and draws at most {MOST_DRAWS:,}"
        )
    if seed is not None and seed < 0:
        raise UserError(f"--seed is {seed}; it must be at least 0")
    run = Run.open(target)
    recorded = run.recorded()
    evaluations = run.evaluations("certified")
    for evaluation in (one for one in evaluations if one["id"] not in recorded):
        typer.echo(f"{_name(evaluation)}: begun, nothing is claimed yet")
    evaluations = [one for one in evaluations if one["id"] in recorded]
    if not evaluations:
        raise UserError(f"{target} holds no certificates; `gambeson certify` makes them")
    name = data or run.header["dataset"]
    if name is None:
        raise UserError(f"{target} does not say which data it is for: give --data NAME")
    model = trained(run, factory, weights, mean, std).to(usable(device)).eval()

    @cache
    def load(split: str) -> "Dataset":
        return choose(name, data_dir, split, 1, None, **held_out(run))

    verdicts: list[dict[str, Any]] = []
    read_only = ""
    for evaluation in evaluations:
        about, title = evaluation["data"], _name(evaluation)
        with progress(f"verify {title}", min(images, recorded[evaluation["id"]])) as tick:
            verdicts.append(verdict_on(run, model, evaluation, load, images=images, draws=draws, seed=seed, tell=tick))
        typer.echo(f"{about['rule']} of {about['dataset']}, {title}: {_in_words(verdicts[-1])}")
        try:
            write_json(run.path / "verified.json", {"evaluations": len(evaluations), "verified": verdicts})
        except OSError as failed:  # evidence may be read-only; what was found is said all the same
            read_only = f"note: verified.json is not written ({failed.strerror})"
    if read_only:
        typer.echo(read_only, err=True)
    for outcome, error in ((False, RunError), (None, UserError)):
        if why := [
            f"{verdict['evaluation']}: {verdict['why']}" for verdict in verdicts if verdict["stands"] is outcome
        ]:
            what = "do not stand" if outcome is False else "were not verified"
            raise error(f"{target}: {len(why)} of {len(verdicts)} evaluations {what}: {'; '.join(why)}")


def _name(evaluation: dict[str, Any]) -> str:
    """Of settings that may be anything."""
    from gambeson.reports.naming import smoothed_name

    settings = evaluation["settings"]
    return f"{smoothed_name(settings) if 'noise' in settings else 'no noise'} ({evaluation['id']})"


def _in_words(verdict: dict[str, Any]) -> str:
    outcome = {True: "stands", False: "DOES NOT STAND", None: "not verified"}[verdict["stands"]]
    if "records" not in verdict:
        return outcome
    agree = f"all {verdict['records']} records agree with their counts and images"
    share = f"{verdict['rejected']} of {verdict['images']} images' claims are rejected ({verdict['allowed']} allowed)"
    few = verdict["allowed"] >= verdict["claims"]
    vain = f", which proves nothing: radii are claimed of {verdict['claims']} of them, give more --images" * few
    return f"{outcome} ({agree}; on fresh noise {share}{vain})"
