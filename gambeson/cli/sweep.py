"""sweep: a recipe at every point of a grid, each attacked alike; which one is chosen, and what all of them came to."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gambeson.errors import RunError, UserError

if TYPE_CHECKING:
    from gambeson.grid import Outcome, Point
    from gambeson.records import Run

Words = list[str]  # of a command


def sweep(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (`gambeson list recipes`) or a TOML file.")],
    eps: Annotated[str, typer.Option(help="Radius of the attack, in [0,1] pixel units: 0.3, 8/255.")],
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=A,B,C", help="Values to try: method.beta=1,3,6; may be repeated."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each point, from the recipe's seed on.")] = 1,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Of every point: train.epochs=3")
    ] = None,
    norm: Annotated[str, typer.Option(help="linf, l2 or l1.")] = "linf",
    preset: Annotated[str, typer.Option(help="The suite: weak, paper, standard, plus, strong.")] = "paper",
    noise: Annotated[str | None, typer.Option(help="Attack the smoothed classifier: gaussian:0.5")] = None,
    images: Annotated[int, typer.Option(help="At most so many of each split are attacked, evenly spread.")] = 1_000,
    jobs: Annotated[int, typer.Option(help="Runs at a time.")] = 1,
    devices: Annotated[str, typer.Option(help="Of the runs, in turn: auto, cpu, or GPUs: 0,1,2.")] = "auto",
    data_dir: Annotated[Path | None, typer.Option(help="Where data is looked for first.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder (default: sweeps/NAME).")] = None,
) -> None:
    """Train a recipe at every point of a grid, attack each run on validation and on test images, and choose by the
    validation images alone. Give the same command again to go on.

    Example: gambeson sweep mnist-trades-0.3 --grid method.beta=1,3,6 --seeds 3 --eps 0.3 --jobs 2
    """
    from gambeson import recipe as recipes
    from gambeson.build import check
    from gambeson.cli.progress import progress
    from gambeson.cli.target import numbers
    from gambeson.grid import RULE, chosen, points
    from gambeson.jsonl import write_json
    from gambeson.reports.sweep import sweep as write

    if min(seeds, jobs, images) < 1:
        raise UserError(f"--seeds is {seeds}, --jobs {jobs} and --images {images}; all must be at least 1")
    if len(numbers(eps, "--eps")) > 1:
        raise UserError(f"--eps is {eps}; a sweep is judged at one radius")
    base = recipes.load(recipe, settings or [])
    out = out or Path("sweeps") / base.name
    attack = [
        "--preset",
        preset,
        "--eps",
        f"0,{eps}",
        "--norm",
        norm,
        "--keep",
        "0",
        *(["--noise", noise] if noise else []),
    ]
    asked = []
    for point in points(grid or []):
        for seed in range(base.seed, base.seed + seeds):
            words = [*(settings or []), *point.settings, f"seed={seed}"]
            check(one := recipes.load(recipe, words))  # all of them, before the first is trained
            if one.data.validation == 0:
                raise UserError("a sweep chooses on images that are held out: set data.validation, for example 1000")
            asked.append((point, seed, words))
    places = devices.split(",")
    run = _Runs(out, recipe, attack, images, jobs, data_dir)
    with progress(f"sweep {base.name}", len(asked), "runs") as tick, _ended(run, jobs) as pool:
        waiting = [pool.submit(run, *one, places[place % len(places)]) for place, one in enumerate(asked)]
        for count, ready in enumerate(as_completed(waiting), 1):
            ready.result()
            tick(count)
    ball = {"attack": preset, "norm": norm, "noise": noise}
    [radius] = numbers(eps, "--eps")
    outcomes = [_outcome(out, point, seed, ball, radius) for point, seed, _ in asked]
    best, what = chosen(outcomes), f"{preset} {norm} eps {eps}" + (f", {noise}" if noise else "")
    found = {"recipe": recipe, "attack": what, "rule": RULE, "chosen": list(best.settings)}
    write_json(out / "sweep.json", {**found, "runs": [asdict(outcome) for outcome in outcomes]})
    typer.echo(write(outcomes, best, what, out))
    typer.echo(f"chosen: {' '.join(best.settings) or 'the recipe'}, by {RULE}; see {out}")


class _Runs:
    """Trains and attacks one run after another, each command in a process of its own."""

    def __init__(self, out: Path, recipe: str, attack: Words, images: int, jobs: int, data_dir: Path | None) -> None:
        self.out, self.recipe, self.attack, self.images, self.jobs = out, recipe, attack, images, jobs
        self.where = [] if data_dir is None else ["--data-dir", str(data_dir)]
        self.alive: set[subprocess.Popen[str]] = set()
        self.stopped = False

    def __call__(self, point: "Point", seed: int, words: Words, device: str) -> None:
        from gambeson import recipe as recipes
        from gambeson.data import load

        run = _folder(self.out, point, seed)
        sets = [part for word in words for part in ("--set", word)]
        place = device if device in ("auto", "cpu", "cuda") else "cuda"
        environment = {**os.environ, **({} if place == device else {"CUDA_VISIBLE_DEVICES": device})}
        if self.jobs > 1 and "OMP_NUM_THREADS" not in os.environ:
            from gambeson.machine import cores

            environment["OMP_NUM_THREADS"] = str(max(1, cores() // self.jobs))
        common = [*self.where, "--device", place]
        self._command(run, environment, ["train", self.recipe, *sets, "--out", str(run), *common])
        one = recipes.load(self.recipe, words)
        for split in ("validation", "test"):
            there = load(one.data.name, split, data_dir=_path(self.where), validation=one.data.validation, seed=seed)
            spread = ["--split", split, "--every", str(-(-len(there) // self.images))]
            self._command(run, environment, ["attack", str(run), *self.attack, *spread, *common])

    def _command(self, run: Path, environment: dict[str, str], words: Words) -> None:
        if self.stopped:
            return
        log = run.parent / f"{run.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as told:
            told.write(f"gambeson {' '.join(words)}\n")
            told.flush()
            process = subprocess.Popen(
                [sys.executable, "-m", "gambeson", *words], env=environment, stdout=told, stderr=told, text=True
            )
            self.alive.add(process)
            status = process.wait()
            self.alive.discard(process)
        if status != 0 and not self.stopped:
            last = log.read_text().strip().splitlines()[-1]
            raise RunError(f"{run}: {last} (all of it in {log}); what is done is kept: give the same command again")

    def stop(self) -> None:
        self.stopped = True
        for process in list(self.alive):
            process.terminate()  # it keeps what it has, as after Ctrl-C


@contextmanager
def _ended(runs: _Runs, jobs: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose processes end with it, whatever ends it."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield pool
        except BaseException:
            runs.stop()
            raise


def _outcome(out: Path, point: "Point", seed: int, ball: dict[str, Any], eps: float) -> "Outcome":
    from gambeson.grid import Outcome
    from gambeson.records import Run

    run = Run.open(_folder(out, point, seed))
    cost = run.cost()
    seconds = None if cost is None else cost["train_seconds"]
    counted = {
        f"{kind}_{split}": _counted(run, split, {**ball, "eps": radius})
        for kind, radius in (("natural", 0.0), ("robust", eps))
        for split in ("validation", "test")
    }
    return Outcome(point=point, seed=seed, train_seconds=seconds, **counted)


def _counted(run: "Run", split: str, asked: dict[str, Any]) -> tuple[int, int]:
    """(correct, images) of the newest attack on a split that was asked for so."""
    mine = [
        one for one in run.evaluations("attacked")
        if one["data"]["split"] == split and asked.items() <= one["settings"].items()
    ]  # fmt: skip
    records = run.records(mine[-1]["id"])
    return sum(record["correct"] for record in records), len(records)


def _folder(out: Path, point: "Point", seed: int) -> Path:
    return out / "runs" / f"{point.name}_seed-{seed}"


def _path(where: Sequence[str]) -> Path | None:
    return Path(where[1]) if where else None
