"""How much of a model's plain inference rate the sampling loop keeps, and that its memory does not grow with draws.

    python benchmarks/sampling.py results/mnist-lenet/mnist-noisy-0.50 results/cifar10-resnet20/noisy-0.50 \\
        --out results/benchmarks

Every run is served in the form that the trial finds for it, in each number format: in one process on all threads, in as
many processes of one thread, and in one process that leaves a core to the noise. Plain: the served model, called on one
batch again and again. Loop: `gambeson.sampling.count`, noise and counting included. Noise: the loop's noise alone. Loop
without model: around one that answers at once. They take turns, all processes at the same thing, so that the machine's
drift hits them alike; medians over the rounds, rates summed over processes. Peak memory is that of a fresh process for
each number of draws.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, get_args

import torch
from _written import markdown, origin

from gambeson.allocator import keep_freed_memory
from gambeson.bursts import BLOCK
from gambeson.inference import Dtype, Form, Served, serve
from gambeson.inference.trial import Asked, choose
from gambeson.keys import stream
from gambeson.machine import share_cores
from gambeson.models import load
from gambeson.noise import lattice, parse
from gambeson.records import Run
from gambeson.sampling import count
from gambeson.training.cost import peak_memory

CORES = len(os.sched_getaffinity(0))
NOISE = lattice(parse("gaussian:0.5"), 255)
Shape = tuple[int, ...]


def plain_rate(served: Served, shape: Shape, seconds: float) -> float:
    images, calls = served.form.zeros(shape).copy_(torch.rand(served.form.batch, *shape)), 0
    start = perf_counter()
    while perf_counter() - start < seconds:
        served(images)
        calls += 1
    return calls * served.form.batch / (perf_counter() - start)


def loop_rate(served: Served, shape: Shape, draws: int) -> float:
    image, start = torch.randint(0, 256, shape), perf_counter()
    count(served, image, noise=NOISE, draws=draws, key=(0, "benchmark"), classes=10)
    return draws / (perf_counter() - start)


def noise_rate(shape: Shape, draws: int) -> float:
    start = perf_counter()
    for block in range(draws // BLOCK):
        NOISE.sample((BLOCK, *shape), stream(0, "noise", block))
    return draws / (perf_counter() - start)


def begin(everybody: Barrier) -> None:
    global ready
    ready = everybody
    share_cores(everybody.parties)  # as the workers of an engine do: none draws its noise on another's core
    keep_freed_memory()


def turns(served: Served, shape: Shape, seconds: float, rounds: int) -> dict[str, list[float]]:
    """Rates of this process, which begins each turn together with the others."""
    with served.form.pinned():
        plain_rate(served, shape, seconds)  # warm up
        calls = max(1, round(plain_rate(served, shape, seconds) * seconds / served.form.batch))
        draws = calls * served.form.batch
        answer = torch.rand(served.form.batch, 10)
        sides = {
            "plain": partial(plain_rate, served, shape, seconds),
            "loop": partial(loop_rate, served, shape, draws),
            "noise": partial(noise_rate, shape, 4_000),
            "loop without model": partial(loop_rate, Served(served.form, lambda _: answer, served), shape, 4_000),
        }
        found: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, rate in sides.items():
                ready.wait()
                found[name].append(rate())
        return found


def compare(run: Run, dtype: Dtype, threads: int, processes: int, seconds: float, rounds: int) -> dict[str, Any]:
    shape, model = tuple(run.header["shape"]), load(run.path / "model.safetensors")
    form = choose(model, torch.rand(4, *shape), asked=Asked(dtype=dtype, threads=threads), draws=10**9).form
    context = multiprocessing.get_context("spawn")
    everybody = context.Barrier(processes, timeout=600)
    with ProcessPoolExecutor(processes, context, begin, (everybody,)) as pool:
        work = [pool.submit(turns, serve(model, form), shape, seconds, rounds) for _ in range(processes)]
        each = [future.result() for future in work]
    rates = {name: median(map(sum, zip(*(found[name] for found in each), strict=True))) for name in each[0]}
    cost = {name: 1e6 * processes / rate for name, rate in rates.items()}
    return {
        "model": run.header["model"],
        "run": run.path.name,
        "form": form.settings(),
        "processes": processes,
        "images_per_second": {name: round(rate) for name, rate in rates.items()},
        "kept": round(rates["loop"] / rates["plain"], 3),
        "microseconds_per_image": {name: round(value, 2) for name, value in cost.items()},
        "more_than_the_model_in_noise_fills": round((cost["loop"] - cost["plain"]) / cost["noise"], 2),
    }


def peak_megabytes(run: Run, draws: int) -> float:
    """Peak resident memory of a fresh process that samples `draws` noisy images."""
    command = [sys.executable, __file__, str(run.path), "--only-sample", str(draws)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def only_sample(run: Run, draws: int) -> None:
    keep_freed_memory()
    loop_rate(serve(load(run.path / "model.safetensors"), Form("float32")), tuple(run.header["shape"]), draws)
    print(peak_memory(torch.device("cpu")) / 2**20)


def table(rows: list[dict[str, Any]]) -> str:
    """µs: of one process. The last column: what the loop costs beyond the model, in fills of noise."""
    sides = ("plain", "loop", "noise", "loop without model")
    head = ("model", "format", "compiled", "processes x threads", "images/s, plain", "images/s, loop", "kept")
    lines = [(*head, *(f"µs, {side}" for side in sides), "(loop - plain) / noise")]
    for row in rows:
        form, rates, cost = row["form"], row["images_per_second"], row["microseconds_per_image"]
        words = (row["model"], form["dtype"], "yes" if form["compiled"] else "no")
        words += (f"{row['processes']} x {form['threads']}", f"{rates['plain']:,}", f"{rates['loop']:,}")
        numbers = (f"{row['kept']:.3f}", *(f"{cost[side]:.1f}" for side in sides))
        lines.append((*words, *numbers, f"{row['more_than_the_model_in_noise_fills']:.2f}"))
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="run folders with trained weights")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dtypes", nargs="*", choices=get_args(Dtype), default=get_args(Dtype))
    parser.add_argument("--memory-draws", nargs=2, type=int, default=[10_000, 100_000])
    parser.add_argument("--out", type=Path, required="--only-sample" not in sys.argv)
    parser.add_argument("--only-sample", type=int, metavar="DRAWS", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    runs = [Run.open(path) for path in chosen.runs]
    if chosen.only_sample:
        only_sample(runs[0], chosen.only_sample)
        return
    several = [(1, CORES), (CORES - 1, 1)] if CORES > 1 else []  # threads, processes
    rows = []
    for run in runs:
        for dtype in chosen.dtypes:
            for threads, processes in ((CORES, 1), *several):
                rows.append(compare(run, dtype, threads, processes, chosen.seconds, chosen.rounds))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    few, many = chosen.memory_draws
    memory = {run.header["model"]: [peak_megabytes(run, few), peak_megabytes(run, many)] for run in runs}
    peaks = {
        model: {f"{few} draws": round(a), f"{many} draws": round(b), "ratio": round(b / a, 3)}
        for model, (a, b) in memory.items()
    }
    chosen.out.mkdir(parents=True, exist_ok=True)
    result = {**origin(), "sampling": rows, "peak_megabytes": peaks}
    (chosen.out / "sampling.json").write_text(json.dumps(result, indent=1) + "\n")
    (chosen.out / "sampling.md").write_text(table(rows))
    print((chosen.out / "sampling.md").read_text())


if __name__ == "__main__":
    main()
