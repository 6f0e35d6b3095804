"""The whole road on data that comes with the installation: train, attack, certify, check, report."""

import json
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

METHODS = ("plain", "noisy", "stability")
NOISE, RADIUS = "gaussian:0.25", 0.25
DRAWS = 1000
DOUBTS: dict[str, Any] = {"steps": 50, "restarts": 2, "queries": 200, "noise_draws": 500}  # seconds, not minutes
EPS = {"linf": (0.0, 0.05, 0.1, 0.2), "l2": (0.0, 0.25, 0.5, 1.0)}


def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for the three runs and the report.")] = Path("quickstart"),
) -> None:
    """Train, attack, certify and report three small networks on 8x8 handwritten digits: a minute or two on two cores.

    Example: gambeson quickstart --out quickstart
    """
    from gambeson import recipe as recipes
    from gambeson.cli.attack import attack
    from gambeson.cli.certify import certify
    from gambeson.cli.check import check
    from gambeson.cli.prepare import train_run
    from gambeson.machine import cores
    from gambeson.reports import report

    # One form for attacks and certificates, so that they are about the same classifier; too little work for a trial.
    form: dict[str, Any] = {"dtype": "float32", "memory": "channels_last", "batch": 200, "compiled": False}
    form["threads"] = cores()
    start = perf_counter()
    chosen = [recipes.load(f"digits-{method}", ["train.ratio_steps=20", "train.epochs=15"]) for method in METHODS]
    runs = [train_run(recipe, out / recipe.name, None, "cpu") for recipe in chosen]
    for run in runs:
        typer.echo(f"== {run.name}")
        for norm, radii in EPS.items():
            attack(str(run), eps=",".join(map(str, radii)), norm=norm, limit=200, keep=16)
        smoothed: dict[str, Any] = {"noise": NOISE, "attack_draws": 4, "predict_draws": 200, "limit": 50, "keep": 50}
        attack(str(run), eps="0,0.5,1", norm="l2", **smoothed, **form)
        # So few draws that a grid saves seconds: full precision shows whole curves and an average radius for them.
        certify(str(run), noise=NOISE, budget="fixed", draws=DRAWS, select_draws=100, limit=100, **form)
        check(str(run), measure=run == runs[-1], **DOUBTS)  # one diagnosis shows what it is, and takes its time
    page = report(runs, out / "report")
    shares = ", ".join(_certified(json.loads((out / "report" / "summary.json").read_text())))
    typer.echo(f"certified at l2 radius {RADIUS} with {NOISE}: {shares} ({perf_counter() - start:.0f} s); see {page}")


def _certified(summary: dict[str, Any]) -> Iterator[str]:
    """Of the certification above, whatever else these folders hold."""
    for run in summary["runs"]:
        mine = {"certificate": "gaussian_l2", "noise": NOISE, "draws_mean": DRAWS, "radius_kind": "full"}
        curve = next(one["curve"] for one in run["certified"] if mine.items() <= one.items())
        share = next(point["accuracy"] for point in curve if point["radius"] == RADIUS)
        yield f"{run['name']} {share:.3f}"
