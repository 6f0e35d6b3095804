"""verify: a run folder is evidence; anybody can check it again."""

from typing import Annotated, Any

import typer

from gambeson.cli.options import DataDir, Device, Mean, Std, Weights
from gambeson.errors import RunError, UserError


def verify(
    target: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
    images: Annotated[int, typer.Option(help="Images whose claims are judged on fresh noise, chosen at random.")] = 50,
    draws: Annotated[int, typer.Option(help="Fresh draws for each of them.")] = 10_000,
    seed: Annotated[int | None, typer.Option(help="Seed of images and noise (default: one nobody knows yet).")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Data set, where the run does not know its own.")] = None,
    data_dir: DataDir = None, weights: Weights = None, mean: Mean = None, std: Std = None, device: Device = "auto",
) -> None:  # fmt: skip
    """Check somebody's certificates: hashes, bounds from their counts, and claims on fresh, independent noise.

    Example: gambeson verify runs/mnist-stability-0.50 --images 100
    """
    from gambeson.cli.evidence import verdict_on
    from gambeson.cli.target import choose, held_out, resolve
    from gambeson.jsonl import write_json
    from gambeson.records import Run
    from gambeson.reports.naming import smoothed_name

    if images < 1 or draws < 1:
        raise UserError(f"--images is {images} and --draws {draws}; both must be at least 1")
    Run.open(target)  # a model that is no run holds no certificates, whatever data it is given
    found = resolve(
        target, data=data, data_dir=data_dir, split="test", every=1, limit=None, out=None, weights=weights, mean=mean,
        std=std, device=device,
    )  # fmt: skip
    evaluations = found.run.evaluations("certified")
    if not evaluations:
        raise UserError(f"{target} holds no certificates; `gambeson certify` makes them")
    verdicts = []
    for evaluation in evaluations:
        about, whole = evaluation["data"], found.data
        if about["split"] != whole.split:
            whole = choose(about["dataset"], data_dir, about["split"], 1, None, **held_out(found.run))
        verdicts.append(verdict_on(found, evaluation, whole, images=images, draws=draws, seed=seed))
        typer.echo(f"{smoothed_name(evaluation['settings'])} ({evaluation['id']}): {_in_words(verdicts[-1])}")
    write_json(found.run.path / "verified.json", {"verified": verdicts})
    for outcome, error in ((False, RunError), (None, UserError)):
        if why := [
            f"{verdict['evaluation']}: {verdict['why']}" for verdict in verdicts if verdict["stands"] is outcome
        ]:
            what = "do not stand" if outcome is False else "were not verified"
            raise error(f"{target}: {len(why)} of {len(verdicts)} evaluations {what}: {'; '.join(why)}")


def _in_words(verdict: dict[str, Any]) -> str:
    outcome = {True: "stands", False: "DOES NOT STAND", None: "not verified"}[verdict["stands"]]
    if "records" not in verdict:
        return outcome
    agree = f"all {verdict['records']} records agree with their counts and images"
    share = f"{verdict['rejected']} of {verdict['images']} images' claims are rejected ({verdict['allowed']} allowed)"
    vain = ", as all may be: so few images prove nothing on fresh noise" * (verdict["allowed"] >= verdict["images"])
    return f"{agree}; on fresh noise {share}{vain}: {outcome}"
