"""sweep: a recipe at every point of a grid, each attacked alike; which one is chosen, and what all of them came to."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
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
    images: Annotated[int, typer.Option(help="At most so many of each split are attacked.")] = 1_000,
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
    from gambeson.noise import parse
    from gambeson.reports.sweep import sweep as write
    from gambeson.suites import PRESETS
    from gambeson.types import Ball

    if min(seeds, jobs, images) < 1:
        raise UserError(f"--seeds is {seeds}, --jobs {jobs} and --images {images}; all must be at least 1")
    if len(radii := numbers(eps, "--eps")) > 1:
        raise UserError(f"--eps is {eps}; a sweep is judged at one radius")
    if preset not in PRESETS:
        raise UserError(f"--preset is {preset!r}; it must be one of {', '.join(PRESETS)}")
    [radius], law = radii, None if noise is None else parse(noise).name
    Ball(norm, radius)  # type: ignore[arg-type]
    base = recipes.load(recipe, settings or [])
    out = out or Path("sweeps") / base.name
    asked = []
    for point in points(grid or []):
        for seed in range(base.seed, base.seed + seeds):
            words = [*(settings or []), *point.settings, f"seed={seed}"]
            check(one := recipes.load(recipe, words))  # all of them, before the first is trained
            if one.data.validation == 0:
                raise UserError("a sweep chooses on images that are held out: set data.validation, for example 1000")
            asked.append((point, seed, words))
    ball = {"attack": preset, "norm": norm, "noise": law, "share": None, "seed": 0}
    attack = ["--preset", preset, "--eps", f"0,{eps}", "--norm", norm, "--keep", "0"]
    attack += [] if law is None else ["--noise", law]
    run = _Runs(out, recipe, attack, images, jobs, _places(devices), data_dir)
    failed = []
    with progress(f"sweep {base.name}", len(asked), "runs") as tick, _ended(run, jobs) as pool:
        waiting = [pool.submit(run, *one) for one in asked]
        for count, ready in enumerate(as_completed(waiting), 1):
            try:
                ready.result()
            except RunError as error:  # the others go on
                failed.append(str(error))
            tick(count)
    if failed:
        raise RunError(f"{len(failed)} of {len(asked)} runs failed, the others are done: {'; '.join(failed)}")
    outcomes = [_outcome(out, point, seed, ball, radius, run.rules) for point, seed, _ in asked]
    best, what = chosen(outcomes), f"{preset} {norm} eps {eps}" + (f", {law}" if law else "")
    found = {"recipe": recipe, "attack": what, "rule": RULE, "chosen": list(best.settings)}
    write_json(out / "sweep.json", {**found, "runs": [asdict(outcome) for outcome in outcomes]})
    typer.echo(write(outcomes, best, what, out))
    typer.echo(f"chosen: {' '.join(best.settings) or 'the recipe'}, by {RULE}; see {out}")


def _places(devices: str) -> list[tuple[str, str | None]]:
    """Each device of `--devices`: what `--device` is told, and the GPU that is visible then (None: all that are)."""
    from gambeson.machine import usable

    visible = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    places: list[tuple[str, str | None]] = []
    for word in (word.strip() for word in devices.split(",")):
        if not word.isdecimal():
            places.append((usable(word), None))
        elif visible and int(word) >= len(visible):
            raise UserError(f"--devices names GPU {word}; {len(visible)} are visible")
        else:
            places.append((usable("cuda"), visible[int(word)] if visible else word))
    return places


class _Runs:
    """Trains and attacks one run after another, each command in a process of its own."""

    def __init__(
        self, out: Path, recipe: str, attack: Words, images: int, jobs: int, places: Sequence[tuple[str, str | None]],
        data_dir: Path | None,
    ) -> None:  # fmt: skip
        self.out, self.recipe, self.attack, self.images, self.data_dir = out, recipe, attack, images, data_dir
        self.free: SimpleQueue[tuple[str, str | None]] = SimpleQueue()
        for job in range(jobs):
            self.free.put(places[job % len(places)])
        self.threads = str(max(1, (os.cpu_count() or 1) // jobs)) if jobs > 1 else None
        self.alive: set[subprocess.Popen[str]] = set()
        self.stopped, self.lock = False, Lock()
        self.rules: dict[tuple[Path, str], str] = {}  # of a run and a split: which images were attacked

    def __call__(self, point: "Point", seed: int, words: Words) -> None:
        from gambeson import recipe as recipes
        from gambeson.cli.target import subset_rule
        from gambeson.data import load

        run, one = _folder(self.out, point, seed), recipes.load(self.recipe, words)
        device, gpu = self.free.get()
        environment = {**os.environ, **({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})}
        if self.threads:
            environment.setdefault("OMP_NUM_THREADS", self.threads)
        common = ["--device", device, *([] if self.data_dir is None else ["--data-dir", str(self.data_dir)])]
        sets = [part for word in words for part in ("--set", word)]
        try:
            self._command(run, environment, ["train", self.recipe, *sets, "--out", str(run), *common])
            for split in ("validation", "test"):
                # Validation images are a random part of the training ones: the first are as good as any.
                there = 0 if split == "validation" else len(load(one.data.name, split, data_dir=self.data_dir))
                every = max(1, -(-there // self.images))
                self.rules[run, split] = subset_rule(split, every, self.images)
                chosen = ["--split", split, "--every", str(every), "--limit", str(self.images)]
                self._command(run, environment, ["attack", str(run), *self.attack, *chosen, *common])
        finally:
            self.free.put((device, gpu))

    def _command(self, run: Path, environment: dict[str, str], words: Words) -> None:
        log = run.parent / f"{run.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as told:
            print("gambeson", *words, file=told, flush=True)
            with self.lock:
                if self.stopped:
                    return
                # A session of its own: Ctrl-C comes to this process alone, which ends the others with one signal.
                process = subprocess.Popen(
                    [sys.executable, "-m", "gambeson", *words], env=environment, stdout=told, stderr=told, text=True,
                    start_new_session=True,
                )  # fmt: skip
                self.alive.add(process)
            status = process.wait()
        with self.lock:
            self.alive.discard(process)
        if status != 0 and not self.stopped:
            last = (log.read_text().strip().splitlines() or ["it said nothing"])[-1]
            raise RunError(f"{run}: {last} (all of it in {log})")

    def stop(self) -> None:
        """Whatever runs keeps what it has, as after Ctrl-C."""
        with self.lock:
            self.stopped = True
            for process in self.alive:
                process.terminate()


@contextmanager
def _ended(runs: _Runs, jobs: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose processes end with it, whatever ends it."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield pool
        except BaseException:
            runs.stop()
            pool.shutdown(cancel_futures=True)
            raise


def _outcome(
    out: Path, point: "Point", seed: int, ball: dict[str, Any], eps: float, rules: dict[tuple[Path, str], str]
) -> "Outcome":
    from gambeson.grid import Outcome
    from gambeson.records import Run

    folder = _folder(out, point, seed)
    run, splits = Run.open(folder), ("validation", "test")
    cost = run.cost()
    seconds = None if cost is None else cost["train_seconds"]
    counted = {
        f"{kind}_{split}": _counted(run, rules[folder, split], {**ball, "eps": radius})
        for kind, radius in (("natural", 0.0), ("robust", eps))
        for split in splits
    }
    return Outcome(point=point, seed=seed, train_seconds=seconds, **counted)


def _counted(run: "Run", rule: str, asked: dict[str, Any]) -> tuple[int, int]:
    """(correct, images) of the newest finished attack that was asked for so on these images."""
    for one in reversed(run.evaluations("attacked")):
        if one["data"]["rule"] == rule and all(one["settings"].get(key) == value for key, value in asked.items()):
            records = run.records(one["id"])
            if len(records) == one["examples"]:
                return sum(record["correct"] for record in records), len(records)
    raise RunError(f"{run.path}: its attack on {rule} is not there any more; give the same command again")


def _folder(out: Path, point: "Point", seed: int) -> Path:
    return out / "runs" / f"{point.name}_seed-{seed}"
