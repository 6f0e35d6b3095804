"""How much of a model's plain inference rate the sampling loop keeps, and that its memory does not grow with draws.

    python benchmarks/sampling.py --out results/benchmarks/sampling.json

Plain: the same served model, same form, called on one fixed batch in inference mode; the best batch of those
tried. Loop: `gambeson.sampling.count`, noise and counting included, at its own best batch. Noise: the draws of the
loop's noise alone. Loop without model: around one that answers at once. They alternate within one
run, so that the machine's drift hits them alike; medians, and the ratio of loop to plain, are printed. Peak memory is
measured in a fresh process for each number of draws.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import torch
from _written import origin

from gambeson.allocator import keep_freed_memory
from gambeson.inference import Dtype, Form, Served, serve
from gambeson.keys import stream
from gambeson.models import build
from gambeson.noise import lattice, parse
from gambeson.sampling import BLOCK, count
from gambeson.training.cost import peak_memory

NETS = {"lenet": ("mnist", (1, 28, 28)), "resnet20": ("cifar10", (3, 32, 32))}
BATCHES = (100, 200, 400)
NOISE = lattice(parse("gaussian:0.5"), 255)


def served(net: str, batch: int, dtype: Dtype) -> Served:
    torch.manual_seed(0)
    model = build(net, classes=10, shape=NETS[net][1])
    return serve(model, Form(dtype, "channels_last", batch, torch.get_num_threads(), "cpu"))


def plain_rate(model: Served, shape: tuple[int, int, int], seconds: float) -> float:
    images, calls = model.form.zeros(shape).copy_(torch.rand(model.form.batch, *shape)), 0
    start = perf_counter()
    while perf_counter() - start < seconds:
        model(images)
        calls += 1
    return calls * model.form.batch / (perf_counter() - start)


def loop_rate(model: Served, shape: tuple[int, int, int], draws: int) -> float:
    image, start = torch.randint(0, 256, shape), perf_counter()
    count(model, image, noise=NOISE, draws=draws, key=(0, "benchmark"), classes=10)
    return draws / (perf_counter() - start)


def noise_rate(shape: tuple[int, int, int], draws: int) -> float:
    start = perf_counter()
    for block in range(draws // BLOCK):
        NOISE.sample((BLOCK, *shape), stream(0, "noise", block))
    return draws / (perf_counter() - start)


def compare(net: str, dtype: Dtype, seconds: float, rounds: int) -> dict[str, object]:
    """Medians over alternating rounds; each side at the batch that is best for it."""
    shape = NETS[net][1]
    plain: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    loop: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    empty: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    noise: list[float] = []
    models = {batch: served(net, batch, dtype) for batch in BATCHES}
    for model in models.values():
        plain_rate(model, shape, seconds / 2)  # warm up
    for _ in range(rounds):
        for batch, model in models.items():
            rate = plain_rate(model, shape, seconds)
            plain[batch].append(rate)
            loop[batch].append(loop_rate(model, shape, max(batch, int(rate * seconds) // batch * batch)))
            answer = torch.rand(batch, 10)
            empty[batch].append(loop_rate(Served(model.form, lambda _, answer=answer: answer), shape, 20 * batch))
        noise.append(noise_rate(shape, 8000))
    best_plain = max(BATCHES, key=lambda batch: statistics.median(plain[batch]))
    best_loop = max(BATCHES, key=lambda batch: statistics.median(loop[batch]))
    rates = {"plain": plain[best_plain], "loop": loop[best_loop], "noise": noise, "empty": empty[best_loop]}
    cost = {name: 1e6 / statistics.median(found) for name, found in rates.items()}
    return {
        "model": net,
        "dtype": dtype,
        "threads": torch.get_num_threads(),
        "noise_has_a_core_of_its_own": torch.get_num_threads() < len(os.sched_getaffinity(0)),
        "plain_images_per_second": round(1e6 / cost["plain"]),
        "plain_batch": best_plain,
        "loop_images_per_second": round(1e6 / cost["loop"]),
        "loop_batch": best_loop,
        "kept": round(cost["plain"] / cost["loop"], 3),
        "microseconds_per_image": {
            "plain": round(cost["plain"], 2),
            "noise": round(cost["noise"], 2),
            "loop_without_model": round(cost["empty"], 2),
            "loop": round(cost["loop"], 2),
        },
    }


def peak_megabytes(net: str, draws: int) -> float:
    """Peak resident memory of a fresh process that samples `draws` noisy images."""
    command = [sys.executable, __file__, "--only-sample", net, str(draws)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nets", nargs="*", default=list(NETS))
    parser.add_argument("--dtypes", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--threads", nargs="*", type=int, default=[1, os.cpu_count() or 1])
    parser.add_argument("--memory-draws", nargs=2, type=int, default=[1_000, 100_000])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only-sample", nargs=2, metavar=("NET", "DRAWS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    keep_freed_memory()
    if chosen.only_sample:
        net, draws = chosen.only_sample
        loop_rate(served(net, 200, "float32"), NETS[net][1], int(draws))
        print(peak_memory(torch.device("cpu")) / 2**20)
        return
    rows = []
    for threads in chosen.threads:
        torch.set_num_threads(threads)
        rows += [compare(net, dtype, chosen.seconds, chosen.rounds) for net in chosen.nets for dtype in chosen.dtypes]
    few, many = chosen.memory_draws
    memory = {net: [peak_megabytes(net, few), peak_megabytes(net, many)] for net in chosen.nets}
    result = {
        **origin(),
        "sampling": rows,
        "peak_megabytes": {
            net: {f"{few} draws": round(a), f"{many} draws": round(b), "ratio": round(b / a, 3)}
            for net, (a, b) in memory.items()
        },
    }
    print(json.dumps(result, indent=1))
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
