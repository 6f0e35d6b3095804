"""What a driver does beyond the work: start-up, slices, records; and what that means for 1,000 GPUs.

    python benchmarks/scaling.py --out results/scaling

Slices of ImageNet images that take no time at all are judged by every engine; what remains is its own. The driver hands
them out, takes them back and writes their partial counts to the disk, of one image and of as many as share calls of the
model. Records are written apart. A cluster is then simulated with these costs: the queue is the real one, the clock is
counted.
"""

import argparse
import heapq
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from _written import markdown, origin

from gambeson.data import Dataset
from gambeson.engines import SLICE, Engine, Judged, Over, here, lengthened
from gambeson.engines.local import Local
from gambeson.engines.ray_cluster import RayCluster
from gambeson.evaluation.procedures import COMPANY
from gambeson.evaluation.work import Found, Queue, Work
from gambeson.inference import Form
from gambeson.jsonl import append, as_line
from gambeson.partial import Partial
from gambeson.sampling import Counts
from gambeson.schema import check_record

SLICES = 4_000  # several times as many as are at work: Ray gives back, and is given, many at once
ROUNDS, SEVERAL, WORKERS = 3, 8, os.cpu_count() or 1
SIDE, CLASSES = 224, 1_000
PIXELS = 3 * SIDE * SIDE
# ImageNet's validation set by 1,000 GPUs. Draws a second is an assumption, to be replaced by one's own measurement.
IMAGES, GPUS, DRAWS_PER_SECOND = 50_000, 1_000, 3_000
MIXED = [91_000] + [1_000] * 9  # a grid of radii: few images are near one
NEEDS = {"100,000": [100_000], "10,000": [10_000], "10,000 on average: 91,000 or 1,000": MIXED, "1,000": [1_000]}
RECORD: dict[str, Any] = {
    "predict": 1, "reason": None, "correct": True, "selected": 1, "select_counts": [10] * CLASSES,
    "counts": [100] * CLASSES, "nonfinite": 0, "draws": 100_000, "p_lower": 0.9, "p_lower_two_sided": None,
    "p_upper_two_sided": None, "radii": {"gaussian_l2": 0.5}, "radii_real": {"gaussian_l2": 0.4},
    "radius_kind": "grid", "looks": [[100_000, 99_000]] * 10, "stopped": "no draws left", "seconds": 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Nothing:
    """A slice in which draws of every image were counted, and none is finished."""

    def __call__(self, work: Work, over: Over) -> Found:
        more = Counts(np.full(CLASSES, 10), 10 * CLASSES)
        answers = [{("estimate", 0): more + known["estimate", 0] if known else more} for known in work.answers]
        return [None] * len(work.data), answers


@dataclass(frozen=True)
class Cost:
    """Seconds until the first slice is back, and of the driver for each slice of so many `images`."""

    start: float
    slice: float
    images: float


def images(side: int, count: int) -> Dataset:
    """So many images, all the same one: nothing else would fit into memory."""
    labels, names = torch.zeros(count, dtype=torch.int64), tuple(map(str, range(CLASSES)))
    pixels = torch.zeros(1, 3, side, side, dtype=torch.uint8).expand(count, -1, -1, -1)
    return Dataset("zeros", "test", pixels, labels, 255, names, torch.arange(count))


def cost(engine: Engine, at_once: int, company: int) -> Cost:
    """Of an engine that has `at_once` slices at work, after as many, of `company` images each at most."""
    from scaling import Nothing  # by its importable name: workers cannot import __main__

    queue, taken = Queue(images(SIDE, IMAGES), company, ()), 0
    queue.put([row] for row in range(IMAGES))
    with tempfile.TemporaryDirectory() as folder:
        kept = Partial(Path(folder) / "partial.jsonl", "certified-0")
        start = first = warm = perf_counter()
        with closing(iter(engine(Nothing(), queue.take))) as judged:
            for number in range(at_once + SLICES):
                _, counted = queue.back(next(judged))
                kept.keep({"images": [image for found in counted.values() for image in found]})
                taken += len(counted) if number >= at_once else 0
                first = perf_counter() if number == 0 else first
                warm = perf_counter() if number < at_once else warm
            end = perf_counter()
    return Cost(first - start, (end - warm) / SLICES, taken / SLICES)


def record_seconds() -> float:
    """Of one record: its image is hashed, its fields are checked, its line is written."""
    data = images(SIDE, SLICES)
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "records.jsonl").open("ab", buffering=0) as file:
        start = perf_counter()
        for row in range(SLICES):
            about = {"index": row, "hash": data.subset([row]).hashes()[0], "label": 0}
            append(file, as_line(check_record("certified", {"evaluation": "certified-0", **about, **RECORD})).encode())
        return (perf_counter() - start) / SLICES


def of_slice(one: Cost, several: Cost, count: int) -> float:
    """Seconds of the driver for a slice of `count` images: so many for itself, and so many for each of them."""
    each = max(0.0, several.slice - one.slice) / (several.images - 1)
    return one.slice + each * (count - 1)


@dataclass(frozen=True)
class Run:
    seconds: float
    slices: int
    driver: float  # share of the time in which the driver is busy, and so the GPUs
    gpus: float
    out: int  # images that are handed out at a time, at most


def simulated(needs: Sequence[float], gpus: int, slice_cost: Callable[[int], float], record_cost: float) -> Run:
    """Images that need so many seconds each, on so many GPUs that wait until the driver gives them something."""
    queue, left, length = Queue(images(1, len(needs)), COMPANY, ()), list(needs), lengthened(SLICE, gpus)
    queue.put([row] for row in range(len(needs)))
    at_work: list[tuple[float, int, Work]] = []
    clock = busy = 0.0
    slices = most = 0
    while True:
        while len(at_work) < gpus and (batch := queue.take(gpus)) is not None:
            rows, spent = queue.out[batch.number], 0.0
            for row in rows:
                step = min(left[row], length - spent)
                spent, left[row] = spent + step, left[row] - step
            taken = slice_cost(len(rows))
            clock, busy, slices = clock + taken, busy + taken, slices + 1
            heapq.heappush(at_work, (clock + spent, batch.number, batch.part))
        if not at_work:
            return Run(clock, slices, busy / clock, sum(needs) / (gpus * clock), most)
        most = max(most, sum(map(len, queue.out.values())))
        end, number, work = heapq.heappop(at_work)
        found = [None if left[row] > 1e-9 else {} for row in queue.out[number]]
        finished, _ = queue.back(Judged(number, (found, work.answers), 0.0))
        clock, busy = max(clock, end) + len(finished) * record_cost, busy + len(finished) * record_cost


def extrapolated(slice_cost: Callable[[int], float], record_cost: float) -> list[dict[str, Any]]:
    rows = []
    for words, draws in NEEDS.items():
        run = simulated([n / DRAWS_PER_SECOND for n in draws * (IMAGES // len(draws))], GPUS, slice_cost, record_cost)
        rows.append(
            {
                "draws an image": words,
                "seconds an image": round(sum(draws) / len(draws) / DRAWS_PER_SECOND, 2),
                "slices a second": round(run.slices / run.seconds, 1),
                "images a second": round(IMAGES / run.seconds, 1),
                "the driver is busy, %": round(100 * run.driver),
                "the GPUs are busy, %": round(100 * run.gpus),
                "GB of images on their way": round(run.out * PIXELS / 1e9, 1),
                "minutes for 50,000 images": round(run.seconds / 60, 1),
            }
        )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    cells = [[value if isinstance(value, str) else f"{value:,}" for value in row.values()] for row in rows]
    return markdown([rows[0], *cells])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    torch.set_num_threads(1)
    cluster = RayCluster(Form(threads=1), workers=GPUS)  # as many slices at work as a cluster of so many GPUs has
    engines: dict[str, tuple[Engine, int]] = {
        "in this process": (here, 1), "local": (Local(WORKERS), WORKERS), "ray": (cluster, GPUS)
    }  # fmt: skip
    tried = [{name: [cost(*engine, company) for company in (1, SEVERAL)] for name, engine in engines.items()}
             for _ in range(ROUNDS)]  # fmt: skip
    # The quickest: what a round took longer was somebody else's.
    measured = {
        name: [min((found[name][at] for found in tried), key=lambda one: one.slice) for at in (0, 1)]
        for name in engines
    }
    writing = record_seconds()
    rows = [
        {
            "engine": name,
            "slices at work": engines[name][1],
            "start, seconds": round(one.start, 2),
            "a slice of one image, milliseconds": round(1e3 * one.slice, 2),
            f"of {SEVERAL} images, milliseconds": round(1e3 * several.slice, 2),
            "a record, milliseconds": round(1e3 * writing, 2),
        }
        for name, (one, several) in measured.items()
    ]
    far = extrapolated(partial(of_slice, *measured["ray"]), writing)
    result = {
        **origin(),
        "engines": {name: [vars(one), vars(several)] for name, (one, several) in measured.items()},
        "record_seconds": writing,
        "assumed": {"images": IMAGES, "gpus": GPUS, "draws_per_second": DRAWS_PER_SECOND},
        "extrapolated": far,
    }
    print(table(rows), table(far), sep="\n")
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        (chosen.out / "scaling.json").write_text(json.dumps(result, indent=1) + "\n")
        (chosen.out / "engines.md").write_text(table(rows))
        (chosen.out / "extrapolated.md").write_text(table(far))


if __name__ == "__main__":
    main()
