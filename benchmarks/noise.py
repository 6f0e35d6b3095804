"""What smoothing noise costs: on the lattice, and in floating point as the published procedure draws it.

    python benchmarks/noise.py --out results/benchmarks

Noise alone: `Lattice.sample` from a block's own key, against `torch.randn` in float32, not yet scaled. Noisy images:
the lattice's sum with the image, cast to the model's floats as in `gambeson.sampling`, against the published loop's
`batch + torch.randn_like(batch) * sigma` (Cohen et al. 2019; Gaussian, whatever noise the lattice has). One thread,
blocks of 100 images. All sides alternate within one run; processor time of each side's fastest round, in which least
of the machine's other work got in between.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from _written import markdown, origin

from gambeson.allocator import keep_freed_memory
from gambeson.bursts import BLOCK
from gambeson.keys import stream
from gambeson.noise import lattice, parse

NOISES = ("gaussian:0.25", "gaussian:0.5", "gaussian:1", "laplace:0.5", "uniform:0.5")
SHAPES = {"MNIST": (1, 28, 28), "CIFAR-10": (3, 32, 32)}
SIGMA = 0.5


def sides(name: str, shape: tuple[int, int, int]) -> dict[str, Callable[[], object]]:
    """Each makes one block of 100 noisy images, or its noise alone."""
    noise, floats = lattice(parse(name), 255), torch.zeros(BLOCK, *shape)
    pixels = torch.randint(0, 256, shape)
    cells, batch = pixels.numpy().astype(noise.first.dtype), (pixels / 255).repeat(BLOCK, 1, 1, 1)

    def noisy() -> None:
        drawn = noise.sample(floats.shape, stream("benchmark", name))
        drawn += cells
        torch.div(torch.from_numpy(drawn), 255, out=floats)

    return {
        "lattice": lambda: noise.sample(floats.shape, stream("benchmark", name)),
        "randn": lambda: torch.randn(floats.shape),
        "noisy_lattice": noisy,
        "noisy_randn": lambda: batch + torch.randn_like(batch) * SIGMA,
    }


def nanoseconds(side: Callable[[], object], repeats: int, values: int) -> float:
    start = process_time()
    for _ in range(repeats):
        side()
    return (process_time() - start) / repeats / values * 1e9


def compare(name: str, data: str, rounds: int, repeats: int) -> dict[str, Any]:
    """Nanoseconds a value, the fastest of alternating rounds, and how many times faster the lattice is."""
    tried, values = sides(name, SHAPES[data]), BLOCK * int(np.prod(SHAPES[data]))
    for side in tried.values():
        side()
    found = [{what: nanoseconds(side, repeats, values) for what, side in tried.items()} for _ in range(rounds)]
    best = {what: min(each[what] for each in found) for what in tried}
    row: dict[str, Any] = {"noise": name, "data": data} | {what: round(cost, 3) for what, cost in best.items()}
    row["faster"] = round(best["randn"] / best["lattice"], 2)
    row["noisy_faster"] = round(best["noisy_randn"] / best["noisy_lattice"], 2)
    return row


def table(rows: list[dict[str, Any]]) -> str:
    heads = ("noise", "images", "lattice, ns a value", "torch.randn", "ratio", "noisy images, ns a value",
             "published loop", "ratio")  # fmt: skip
    keys = ("noise", "data", "lattice", "randn", "faster", "noisy_lattice", "noisy_randn", "noisy_faster")
    body = [[row[key] if isinstance(row[key], str) else f"{row[key]:.2f}" for key in keys] for row in rows]
    return markdown([heads, *body])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    rows = [compare(name, data, chosen.rounds, chosen.repeats) for data in SHAPES for name in NOISES]
    result = {
        **origin(),
        "nanoseconds_a_value": rows,
    }
    print(table(rows))
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        (chosen.out / "noise.json").write_text(json.dumps(result, indent=1) + "\n")
        (chosen.out / "noise.md").write_text(table(rows))


if __name__ == "__main__":
    main()
