"""certify: what is proven of the smoothed classifier."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gambeson.cli.budget import choose_budget, choose_draws
from gambeson.cli.estimate import in_words, what_is_left
from gambeson.cli.options import (
    Batch,
    Compile,
    Data,
    DataDir,
    Device,
    Dtype,
    Every,
    Factory,
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
    natural,
    opened,
    wishes,
)
from gambeson.cli.outcome import one_sided, tell_certified
from gambeson.cli.workers import can_begin, check_engine, engine_for, others, places, processes

if TYPE_CHECKING:
    from gambeson.cli.target import Target
    from gambeson.engines import Engine
    from gambeson.evaluation import Evaluation
    from gambeson.inference import Form


GRID_SAVES = 8  # how many times fewer draws a grid of radii takes, about


def certify(
    target: Where,
    noise: Annotated[
        str | None,
        typer.Option(
            help="gaussian:0.5, laplace:0.3, uniform:1 or splitting:0.75; several by commas (default: what the run was "
            "trained with)."
        ),
    ] = None,
    smoothing: Annotated[
        str, typer.Option(help="hard: the class with the most votes; soft: with the largest mean score.")
    ] = "hard",
    budget: Annotated[
        str | None,
        typer.Option(
            help="grid: decide customary radii with as few draws as that takes (default where a data set has them); "
            "fixed: a radius in full precision, all draws for every image."
        ),
    ] = None,
    radii: Annotated[str | None, typer.Option(help="A grid of your own: 0,0.25,0.5")] = None,
    draws: Annotated[
        int | None,
        typer.Option(help="Noisy copies that bound the class probability, n (default: 100,000; for a grid: at most)."),
    ] = None,
    select_draws: Annotated[
        int | None, typer.Option(help="Noisy copies that pick the class, n0 (default: 100).")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Failure probability of each image's certificate (default: 0.001).")
    ] = None,
    price: Annotated[
        float | None, typer.Option(help="For a grid: draws that one more certified radius is worth (default: 5e6).")
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(help="For a grid: group_sequential or beta_mixture (default: the one that fits the form)."),
    ] = None,
    stop_wrong: Annotated[
        bool, typer.Option("--stop-wrong", help="For a grid: do not certify images whose class is wrong.")
    ] = False,
    table_error: Annotated[
        float | None,
        typer.Option(
            help="For a grid: spend draws where they change the table most, until at most this share of the images is "
            "undecided in each cell: 0.01"
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="local (processes of this machine) or ray (a Ray cluster).")] = "local",
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that share the images (default: where it pays, one for every core; ray: all)."),
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Of a running Ray cluster: host:port or auto (default: one is started here).")
    ] = None,
    data: Data = None, data_dir: DataDir = None, split: Split = "test", every: Every = 1, limit: Limit = None,
    out: Out = None, factory: Factory = None, weights: Weights = None, mean: Mean = None, std: Std = None,
    device: Device = "auto", seed: Seed = 0, dtype: Dtype = "auto", memory: Memory = None, batch: Batch = None,
    threads: Threads = None, compiled: Compile = None,
) -> None:  # fmt: skip
    """Certify the smoothed classifier: every certificate that the noise allows, from the same counts.

    Example: gambeson certify runs/mnist-stability-0.50 --noise gaussian:0.5 --every 20
    """
    from gambeson.cli.forms import fitting, form_for
    from gambeson.cli.recorded import record
    from gambeson.evaluation import certified
    from gambeson.evaluation.road import road
    from gambeson.evaluation.smoothing import unserved
    from gambeson.noise import parse
    from gambeson.reports.naming import smoothed_name
    from gambeson.reports.numbers import down
    from gambeson.smoothed.kept import trained_noise

    check_engine(engine, workers, ray_address)
    found = opened(target, data, data_dir, split, every, limit, out, factory, weights, mean, std, device, threads)
    names = [parse(word.strip()).name for word in (noise or trained_noise(found.run)).split(",")]
    drawn = choose_draws(
        names,
        {"draws": draws, "select_draws": select_draws, "alpha": alpha},
        {"budget": budget, "radii": radii, "price": price, "rule": rule, "stop_wrong": stop_wrong or None}
        | {"table_error": table_error},
    )
    options = choose_budget(found.data.name, smoothing, budget, radii, price, rule, stop_wrong, table_error)
    options |= {**drawn, "smoothing": smoothing}
    smoothed = [unserved(found.model, found.data, noise=name) for name in names]
    roads = [road(one, found.data, **options).settings for one in smoothed]  # refused before a form is looked for
    ahead = len(found.data) * sum(one["draws"] // (GRID_SAVES if _grid(one) else 1) for one in roads)
    wished = wishes(dtype, memory, batch, threads, compiled)
    can_begin(engine, workers, ray_address, found.model)
    form = form_for(found, wished, smoothed[0].noise, ahead, others=others(engine, workers, found.model))

    def measured(form: "Form") -> None:
        plans = [certified(found.model, found.data, noise=name, seed=seed, form=form, **options) for name in names]
        natural(found)
        for plan in plans:
            name = smoothed_name(plan.settings)
            largest = one_sided(plan.settings["max_radius"])
            within = ", ".join(f"{key} {down(radius)}" for key, radius in largest)
            grid = _grid(plan.settings)
            most = "at most " if grid else ""
            asked = f"{plan.settings['draws']} draws at alpha {plan.settings['alpha']:g}"
            typer.echo(f"{name}: {most}{asked} certify at most {within}")
            start = partial(_start, found, plan, f"certify {name}", engine, workers, ray_address)
            evaluation = record(found, plan, f"certify {name}", start, _watch(_grid(plan.settings) or [0.0]))
            customary = [radius for radius in (0, 0.25, 0.5, 0.75, 1, 1.5, 2) if radius <= largest[0][1]]
            tell_certified(found.run.records(evaluation), name, grid or customary, table_error)

    fitting(found.run, form, measured)


def _start(
    target: "Target", plan: "Evaluation", title: str, engine: str, workers: int | None, address: str | None, name: str
) -> "tuple[Engine, float | None]":
    """Says what is ahead of the evaluation `name`; where it runs, and how many draws it will take."""
    estimate, form = what_is_left(target, plan, name), plan.settings["form"]
    count = processes(engine, workers, form, estimate)
    if estimate is not None:
        adaptive = not isinstance(plan.settings["budget"], str)
        at_once = count if engine == "ray" else min(count, places(form))
        here = " in one process; a cluster's are divided by its tasks" * (engine == "ray" and workers is None)
        typer.echo(f"{title}: {in_words(estimate, at_once, adaptive)}{here}", err=True)
    return engine_for(engine, workers, address, form, count), None if estimate is None else estimate.left


def _grid(settings: dict[str, Any]) -> list[float]:
    return [] if isinstance(settings["budget"], str) else settings["budget"]["radii"]


def _watch(grid: list[float]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Shown record by record, says what share of them certifies the grid's middle."""
    from gambeson.reports.runs import answer

    at, seen, certified = grid[len(grid) // 2], 0, 0

    def watch(line: dict[str, Any]) -> dict[str, Any]:
        nonlocal seen, certified
        name, radius = one_sided(line["radii"])[0]
        seen, certified = seen + 1, certified + (answer(line, name) == line["label"] and radius >= at)
        return {"note": f"certified at {at:g}: {certified / seen:.3f}"}

    return watch
