"""What a step of every training method costs: against plain training, and against the passes that it cannot do without.

    python benchmarks/training.py --model lenet --data mnist --batch 256 --out results/benchmarks

A step is the loss, its gradients and the optimiser's step, on one batch in memory. Its passes are counted by hooks, by
kind and number of rows: forward (no graph), image (forward, and back to the images alone, weights frozen), training
(forward, and back to the weights), double (forward, back to the images with a graph, and back through that to the
weights). The ideal is what these passes take by themselves, on this network, these numbers of rows and this precision,
and the optimiser's step. All methods and all kinds of passes take turns in one process; medians over the rounds, and
the ratio to the ideal is the median of every round's own.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _clock import seconds
from _written import markdown, origin
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson import data, losses, models
from gambeson.allocator import keep_freed_memory
from gambeson.losses.terms import searched

Pass = tuple[str, int]  # kind, rows
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("plain", {}),
    "noisy": ("noisy", {"sigma": 0.5}),
    "PixelDP": ("pixeldp", {"sigma": 0.5}),
    "stability": ("stability", {"sigma": 0.5, "weight": 2.0}),
    "consistency, m = 2": ("consistency", {"sigma": 0.5, "weight": 5.0}),
    "MACER, m = 16": ("macer", {"sigma": 0.5}),
    "SmoothAdv, m = 2, T = 2": ("smoothadv", {"sigma": 0.5, "eps": 1.0}),
    "SmoothAdv, m = 4, T = 10": ("smoothadv", {"sigma": 0.5, "eps": 1.0, "draws": 4, "steps": 10}),
    "SmoothMix, m = 4, T = 4": ("smoothmix", {"sigma": 0.5, "step_size": 1.0, "draws": 4}),
    "CAT-RS, m = 4, T = 4": ("cat_rs", {"sigma": 0.5}),
    "fast": ("fast", {"eps": 0.3}),
    "PGD, 10 steps": ("adversarial", {"eps": 0.3}),
    "PGD, 10 steps, AWP": ("adversarial", {"eps": 0.3, "awp": 0.005}),
    "TRADES, 10 steps": ("trades", {"eps": 0.3}),
    "MART, 10 steps": ("mart", {"eps": 0.3}),
    "input gradient": ("input_gradient", {"weight": 1.0}),
    "CURE": ("cure", {"h": 1.5}),
    "LLR, 2 steps": ("llr", {"eps": 0.3, "steps": 2}),
    "LLR, 10 steps": ("llr", {"eps": 0.3}),
}


class Net:
    """A network with its optimiser, and one batch."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, precision: torch.dtype) -> None:
        self.model, self.x, self.y, self.precision = model.train(), x, y, precision
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)  # too slow to change what it costs

    def step(self, loss: Callable[[], Tensor]) -> None:
        parameters = list(self.model.parameters())
        with torch.autocast(self.x.device.type, self.precision, enabled=self.precision != torch.float32):
            total = loss()
        for parameter, gradient in zip(parameters, torch.autograd.grad(total, parameters), strict=True):
            parameter.grad = gradient
        self.optimizer.step()

    def method(self, name: str, options: Mapping[str, Any]) -> None:
        generator = torch.Generator(self.x.device).manual_seed(0)

        def loss() -> Tensor:
            terms, _ = losses.get(name, options)(
                {"model": self.model}, self.x, self.y, state={}, generator=generator, **options
            )
            return torch.stack(list(terms.values())).sum()

        self.step(loss)

    def alone(self, kind: str, rows: int) -> None:
        """One pass by itself, without the optimiser's step."""
        repeats = -(-rows // len(self.x))
        x, y = self.x.repeat(repeats, 1, 1, 1)[:rows], self.y.repeat(repeats)[:rows]
        parameters = list(self.model.parameters())
        with torch.autocast(self.x.device.type, self.precision, enabled=self.precision != torch.float32):
            if kind == "forward":
                with torch.no_grad():
                    self.model(x)
            elif kind == "image":
                x = x.detach().requires_grad_()
                with searched(self.model):
                    torch.autograd.grad(cross_entropy(self.model(x), y, reduction="sum"), x)
            elif kind == "training":
                torch.autograd.grad(cross_entropy(self.model(x), y), parameters)
            else:
                x = x.detach().requires_grad_()
                each = cross_entropy(self.model(x), y, reduction="none")
                [gradient] = torch.autograd.grad(each.sum(), x, create_graph=True)
                torch.autograd.grad(each.mean() + gradient.square().flatten(1).sum(1).mean(), parameters)


def passes(net: Net, name: str, options: Mapping[str, Any]) -> Counter[Pass]:
    """What one step of a method does."""
    found: list[list[Any]] = []

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        trained = any(parameter.requires_grad for parameter in module.parameters())
        kind = "forward" if not output.requires_grad else "training" if trained else "image"
        entry = [kind, len(inputs[0])]
        found.append(entry)
        if kind == "training" and inputs[0].requires_grad:
            inputs[0].register_hook(lambda g: entry.__setitem__(0, "double") if g.requires_grad else None)

    handle = net.model.register_forward_hook(after)
    try:
        net.method(name, options)
    finally:
        handle.remove()
    return Counter((kind, rows) for kind, rows in found)


def measure(net: Net, rounds: int) -> list[dict[str, Any]]:
    counted = {label: passes(net, name, options) for label, (name, options) in METHODS.items()}
    units = sorted({one for counter in counted.values() for one in counter})
    spent: dict[Any, list[float]] = {key: [] for key in (*METHODS, *units, "optimizer")}
    for turn in range(rounds + 1):
        for label, (name, options) in METHODS.items():
            spent[label].append(seconds(partial(net.method, name, options))[0])
        for unit in units:
            spent[unit].append(seconds(partial(net.alone, *unit))[0])
        spent["optimizer"].append(seconds(net.optimizer.step)[0])
        print(f"round {turn} of {rounds}", file=sys.stderr, flush=True)
    spent = {key: took[1:] for key, took in spent.items()}  # the first warms up
    found = []
    for label, counter in counted.items():
        ideal = [
            spent["optimizer"][turn] + sum(times * spent[unit][turn] for unit, times in counter.items())
            for turn in range(rounds)
        ]
        ratio = [took / best for took, best in zip(spent[label], ideal, strict=True)]
        found.append({
            "method": label, "loss": METHODS[label][0], "options": METHODS[label][1],
            "passes": {f"{kind} of {rows}": times for (kind, rows), times in sorted(counter.items())},
            "seconds": round(median(spent[label]), 5), "ideal_seconds": round(median(ideal), 5),
            "ratio_to_plain": round(median(spent[label]) / median(spent["plain"]), 3),
            "ideal_ratio_to_plain": round(median(ideal) / median(spent["plain"]), 3),
            "over_ideal": round(median(ratio), 3),
        })  # fmt: skip
    return found


def table(found: list[dict[str, Any]]) -> str:
    trades = next(one["seconds"] for one in found if one["loss"] == "trades")
    head = (
        "method",
        "passes (kind of rows: times)",
        "times a plain step",
        "ideal",
        "over ideal",
        "times cheaper than TRADES",
    )
    lines: list[tuple[Any, ...]] = [head]
    for one in found:
        counted = ", ".join(f"{name}: {times}" for name, times in one["passes"].items())
        lines.append((one["method"], counted, f"{one['ratio_to_plain']:.2f}", f"{one['ideal_ratio_to_plain']:.2f}",
                      f"{one['over_ideal']:.2f}", f"{trades / one['seconds']:.1f}"))  # fmt: skip
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lenet")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="autocast")
    parser.add_argument("--only", nargs="*", help="methods, as the table names them; plain and TRADES are always there")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    keep_freed_memory()  # as every command of gambeson does, for all sides
    if chosen.only is not None:
        for label in set(METHODS) - {"plain", "TRADES, 10 steps", *chosen.only}:
            del METHODS[label]
    part = data.load(chosen.data, "train").every(1, chosen.batch)
    model = models.build(chosen.model, classes=len(part.classes), shape=tuple(part.pixels()[0].shape))
    model = model.to(chosen.device, memory_format=torch.channels_last)
    x = part.pixels().to(chosen.device, memory_format=torch.channels_last)
    net = Net(model, x, part.labels.to(chosen.device), torch.bfloat16 if chosen.bf16 else torch.float32)
    found = measure(net, chosen.rounds)
    chosen.out.mkdir(parents=True, exist_ok=True)
    name = f"training-{chosen.model}" + ("-bf16" if chosen.bf16 else "") + ("" if chosen.device == "cpu" else "-gpu")
    about = {"model": chosen.model, "batch": chosen.batch, "rounds": chosen.rounds}
    (chosen.out / f"{name}.json").write_text(json.dumps({**origin(), **about, "methods": found}, indent=1) + "\n")
    (chosen.out / f"{name}.md").write_text(table(found))
    print(table(found))


if __name__ == "__main__":
    main()
