"""certify: what is proven of the smoothed classifier."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gambeson.cli.options import (
    Batch,
    Data,
    DataDir,
    Device,
    Dtype,
    Every,
    Limit,
    Mean,
    Memory,
    Out,
    Seed,
    Split,
    Std,
    Threads,
    Weights,
    Where,
    inference_form,
    most_workers,
    natural,
    opened,
    trained_noise,
)
from gambeson.errors import UserError

if TYPE_CHECKING:
    from gambeson.cli.target import Target
    from gambeson.engines import Engine
    from gambeson.evaluation import Evaluation


def certify(
    target: Where,
    noise: Annotated[str | None, typer.Option(help="kind:scale, several by commas: gaussian:0.25,laplace:0.3")] = None,
    smoothing: Annotated[
        str, typer.Option(help="hard: the class with the most votes; soft: with the largest mean score.")
    ] = "hard",
    radii: Annotated[
        str | None, typer.Option(help="Decide these radii only, with as few draws as that takes: 0,0.25,0.5")
    ] = None,
    draws: Annotated[
        int, typer.Option(help="Noisy copies that bound the class probability, n (with --radii: at most).")
    ] = 100_000,
    select_draws: Annotated[int, typer.Option(help="Noisy copies that pick the class, n0.")] = 100,
    alpha: Annotated[float, typer.Option(help="Failure probability of each image's certificate.")] = 0.001,
    price: Annotated[float, typer.Option(help="With --radii: draws that one more certified radius is worth.")] = 1e7,
    stop_wrong: Annotated[
        bool, typer.Option("--stop-wrong", help="With --radii: do not certify images whose class is wrong.")
    ] = False,
    engine: Annotated[str, typer.Option(help="local (processes of this machine) or ray (a Ray cluster).")] = "local",
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that share the images, one thread each unless --threads is given (ray: all)."),
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Of a running Ray cluster: host:port or auto (default: one is started here).")
    ] = None,
    data: Data = None, data_dir: DataDir = None, split: Split = "test", every: Every = 1, limit: Limit = None,
    out: Out = None, weights: Weights = None, mean: Mean = None, std: Std = None, device: Device = "auto",
    seed: Seed = 0, dtype: Dtype = "float32", memory: Memory = None, batch: Batch = 200,
    threads: Threads = None,
) -> None:  # fmt: skip
    """Certify the smoothed classifier: every certificate that the noise allows, from the same counts.

    Example: gambeson certify runs/mnist-stability-0.50 --noise gaussian:0.5 --every 20
    """
    from gambeson.cli.target import numbers, record
    from gambeson.evaluation import certified
    from gambeson.reports.naming import smoothed_name

    if threads is None and (engine == "ray" or workers not in (None, 1)):
        threads = 1
    if radii is None and stop_wrong:
        raise UserError("--stop-wrong goes with --radii: with a fixed budget every image gets the same draws")
    _check_engine(engine, workers, ray_address)
    found = opened(target, data, data_dir, split, every, limit, out, weights, mean, std, device, threads)
    form = inference_form(dtype, memory, batch, device)
    names = [word.strip() for word in (noise or trained_noise(found.run)).split(",")]
    grid = None if radii is None else numbers(radii, "--radii")
    budget: dict[str, Any] = {"draws": draws, "select_draws": select_draws, "alpha": alpha, "radii": grid}
    budget |= {"price": price, "stop_wrong": stop_wrong, "smoothing": smoothing}
    plans = [certified(found.model, found.data, noise=name, seed=seed, form=form, **budget) for name in names]
    natural(found)
    for plan in plans:
        name = smoothed_name(plan.settings)
        largest = ", ".join(f"{key} {radius:.3f}" for key, radius in _one_sided(plan.settings["max_radius"]))
        most = "at most " if grid else ""
        typer.echo(f"{name}: {most}{draws} draws at alpha {alpha:g} certify at most {largest}")
        evaluation = record(found, plan, f"certify {name}", engine=_engine(engine, workers, ray_address, plan))
        _tell_certified(found, evaluation, name, grid or [0, 0.25, 0.5, 0.75, 1, 1.5, 2])


def _check_engine(name: str, workers: int | None, ray_address: str | None) -> None:
    if name not in ("local", "ray"):
        raise UserError(f"--engine is {name!r}; it must be local or ray")
    if workers is not None and (workers < 1 or (name == "local" and workers > most_workers())):
        raise UserError(f"--workers is {workers}; it must be 1 to {most_workers()} on this machine")
    if ray_address is not None and name != "ray":
        raise UserError(f"--ray-address {ray_address} goes with --engine ray")


def _engine(name: str, workers: int | None, ray_address: str | None, plan: "Evaluation") -> "Engine":
    from gambeson.engines import here
    from gambeson.engines.local import Local
    from gambeson.engines.ray_cluster import RayCluster
    from gambeson.inference import Form

    if name == "ray":
        return RayCluster(Form(**plan.settings["form"]), ray_address, workers)
    return here if workers in (None, 1) else Local(workers)


def _tell_certified(target: "Target", evaluation: str, title: str, at: list[float]) -> None:
    records = target.run.records(evaluation)
    for name, _ in _one_sided(records[0]["radii"]):
        radii = [r["radii"][name] if r["correct"] else -1.0 for r in records]
        shares = ((least, sum(radius >= least for radius in radii) / len(radii)) for least in at)
        row = "  ".join(f"{least:g}: {share:.3f}" for least, share in shares)
        typer.echo(f"{title} {name}, certified accuracy at radius  {row}")


def _one_sided(radii: dict[str, float]) -> list[tuple[str, float]]:
    return [(name, radius) for name, radius in radii.items() if not name.endswith("_two_sided")]
