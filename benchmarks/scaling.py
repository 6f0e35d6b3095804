"""What an engine costs beyond the work: start-up, time per batch, records a second; and what that means for 1,000 GPUs.

    python benchmarks/scaling.py --out results/scaling

Batches of one ImageNet image that take no time at all are judged by every engine; what remains is its own. The
driver appends their records to a run folder, checked and flushed one by one, as `gambeson certify` does.
"""

import argparse
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from _written import markdown, origin

from gambeson.engines import Batch, Engine, Over, here
from gambeson.engines.local import Local
from gambeson.engines.ray_cluster import RayCluster
from gambeson.inference import Form
from gambeson.jsonl import append, as_line
from gambeson.schema import check_record

BATCHES, WORKERS = 2_000, os.cpu_count() or 1
# ImageNet's validation set by 1,000 GPUs. Draws a second is an assumption, to be replaced by one's own measurement.
IMAGES, GPUS, DRAWS_PER_SECOND = 50_000, 1_000, 3_000
RECORD: dict[str, Any] = {
    "index": 0, "hash": "0" * 32, "label": 1, "predict": 1, "reason": None, "correct": True, "selected": 1,
    "select_counts": [10] * 10, "counts": [10_000] * 10, "nonfinite": 0, "draws": 100_000, "p_lower": 0.9,
    "p_lower_two_sided": None, "p_upper_two_sided": None, "radii": {"gaussian_l2": 0.5},
    "radii_real": {"gaussian_l2": 0.4}, "radius_kind": "grid", "looks": [[100_000, 99_000]] * 10,
    "stopped": "no draws left", "seconds": 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Nothing:
    def __call__(self, images: torch.Tensor, over: Over) -> list[dict[str, Any]]:
        return [RECORD] * len(images)


def cost(engine: Engine) -> dict[str, float]:
    """Seconds to the first batch, and per batch after it."""
    from scaling import Nothing  # by its importable name: workers cannot import __main__

    start = perf_counter()
    image = torch.zeros(1, 3, 224, 224, dtype=torch.uint8)
    batches = (Batch(number, image) for number in range(BATCHES))
    judged = iter(engine(Nothing(), lambda: next(batches, None)))
    next(judged)
    first = perf_counter()
    sum(1 for _ in judged)
    return {"start_seconds": first - start, "batch_seconds": (perf_counter() - first) / (BATCHES - 1)}


def record_seconds() -> float:
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "records.jsonl").open("ab", buffering=0) as file:
        start = perf_counter()
        for _ in range(BATCHES):
            append(file, as_line(check_record("certified", {"evaluation": "certified-0", **RECORD})).encode())
        return (perf_counter() - start) / BATCHES


def extrapolated(batch_seconds: float, writing: float) -> list[dict[str, Any]]:
    """A table of ImageNet on many GPUs: hours of work, and what the driver could hand out and write meanwhile."""
    rows = []
    for draws in (100_000, 10_000):
        image = draws / DRAWS_PER_SECOND
        wanted = GPUS / image  # images a second, one image a batch
        driver = 1 / (batch_seconds + writing)
        rows.append(
            {
                "draws an image": draws,
                "seconds an image": round(image, 1),
                "images a second, 1,000 GPUs": round(wanted),
                "images a second, the driver": round(driver),
                "minutes for 50,000 images": round(IMAGES / min(wanted, driver) / 60, 1),
                "GPUs that one driver keeps busy": round(driver * image),
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
    engines: dict[str, Engine] = {"in this process": here, "local": Local(WORKERS), "ray": RayCluster(Form(threads=1))}
    measured = {name: cost(engine) for name, engine in engines.items()}
    writing = record_seconds()
    rows = [
        {
            "engine": name,
            "start, seconds": round(found["start_seconds"], 2),
            "a batch, milliseconds": round(1e3 * found["batch_seconds"], 3),
            "a record written, milliseconds": round(1e3 * writing, 3),
        }
        for name, found in measured.items()
    ]
    far = extrapolated(measured["ray"]["batch_seconds"], writing)
    result = {
        **origin(),
        "engines": measured,
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
