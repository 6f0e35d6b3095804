"""How fast attacks are: PGD against a bare loop of gradients, and against foolbox and adversarial-robustness-toolbox.

    python benchmarks/attacks.py results/mnist-lenet/mnist-plain:0.1 results/mnist-attacks/mnist-adversarial-0.3:0.3 \\
        --out results/benchmarks

For each RUN:EPS (linf), two comparisons; all sides take turns in one process, medians over the rounds; what is kept of
the rate is the median of every round's own ratio, since a shared machine is not as fast in one round as in the next.

Rate. Bare: gradients of the cross-entropy to one batch of images, again and again, and nothing else; the images are at
a random start in the ball, since a network takes up to a tenth longer for them than for images with flat backgrounds
(max pooling does). PGD: as many steps on the same batch, to the end (no image is left alone early), all that `pgd` does
between and after the steps included, three forward passes among it. Both with the model as it is, and as
`gambeson attack` runs it (`models.modes.under_attack`: on a CPU channels_last, and another way to the images through a
first convolution), in `--short-rounds` rounds.

Tools. The same batches of images under PGD with steps of eps/10 from one random start, as each tool has it: foolbox's
LinfPGD, art's ProjectedGradientDescentPyTorch, our `pgd` as `gambeson attack` runs it, which leaves images alone that
have fallen. The time that ours takes is of the fewest steps, of those tried, after which its robust accuracy is no
higher than theirs after all: more than theirs where our random starts happen to be worse.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from _clock import seconds
from _written import markdown, origin
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson import data
from gambeson.allocator import keep_freed_memory
from gambeson.attacks import pgd
from gambeson.geometry import random_start
from gambeson.models import frozen, load
from gambeson.models.modes import under_attack
from gambeson.records import Run
from gambeson.types import Ball, Box


class Task(NamedTuple):
    name: str
    model: nn.Module
    x: Tensor
    y: Tensor
    eps: float


def bare(task: Task, steps: int) -> None:
    for _ in range(steps):
        x = task.x.detach().requires_grad_()
        torch.autograd.grad(cross_entropy(task.model(x), task.y, reduction="sum"), x)


def ours(task: Task, steps: int, early_stop: bool = True) -> Tensor:
    ball = Ball("linf", task.eps)
    return pgd(task.model, task.x, task.y, ball=ball, steps=steps, step_size=task.eps / 10, early_stop=early_stop).x_adv


def laid_out(side: Callable[[], Any], task: Task) -> Any:
    with under_attack(task.x, task.model):
        return side()


def foolbox(task: Task, steps: int) -> Tensor:
    from foolbox import PyTorchModel
    from foolbox.attacks import LinfPGD

    attack = LinfPGD(rel_stepsize=0.1, steps=steps)
    _, found, _ = attack(
        PyTorchModel(task.model, bounds=(0, 1), device=task.x.device), task.x, task.y, epsilons=task.eps
    )
    return found


def art(task: Task, steps: int) -> Tensor:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    wrapped = PyTorchClassifier(
        task.model, loss=nn.CrossEntropyLoss(), input_shape=tuple(task.x.shape[1:]), nb_classes=10, clip_values=(0, 1),
        device_type="gpu" if task.x.is_cuda else "cpu",
    )  # fmt: skip
    attack = ProjectedGradientDescentPyTorch(
        wrapped, norm="inf", eps=task.eps, eps_step=task.eps / 10, max_iter=steps, num_random_init=1,
        batch_size=len(task.x), verbose=False,
    )  # fmt: skip
    return torch.from_numpy(attack.generate(task.x.cpu().numpy(), task.y.cpu().numpy())).to(task.x)


@torch.no_grad()
def accuracy(task: Task, x_adv: Tensor) -> float:
    return float((task.model(x_adv).argmax(1) == task.y).float().mean())


def rate(task: Task, steps: int, rounds: int) -> dict[str, Any]:
    start = random_start(task.x, Ball("linf", task.eps), Box(), keys=range(len(task.x)), restart=0)
    plain: dict[str, Callable[[], Any]] = {
        "bare": partial(bare, task._replace(x=start), steps),
        "pgd": partial(ours, task, steps, early_stop=False),
    }
    sides = plain | {f"{name}, laid out": partial(laid_out, side, task) for name, side in plain.items()}
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, side in sides.items():
            took, _ = seconds(side)
            if turn:  # the first warms up
                spent[name].append(took)

    def kept(loop: str, attack: str) -> float:
        return round(median(b / a for b, a in zip(spent[loop], spent[attack], strict=True)), 3)

    passes = {name: round(steps * len(task.x) / median(took), 1) for name, took in spent.items()}
    return {
        "steps": steps,
        "images": len(task.x),
        "passes_per_second": passes,
        "rounds": rounds,
        "kept": kept("bare", "pgd"),
        "kept, laid out": kept("bare, laid out", "pgd, laid out"),
    }


def tools(task: Task, steps: int, ladder: list[int], rounds: int) -> dict[str, Any]:
    sides: dict[str, Callable[[], Tensor]] = {
        "foolbox": partial(foolbox, task, steps),
        "art": partial(art, task, steps),
        **{f"ours, {few} steps": partial(laid_out, partial(ours, task, few), task) for few in sorted({*ladder, steps})},
    }
    spent: dict[str, list[float]] = {name: [] for name in sides}
    robust: dict[str, float] = {}
    for turn in range(rounds + 1):
        for name, side in sides.items():
            took, x_adv = seconds(side)
            robust[name] = accuracy(task, x_adv)
            inside = float((x_adv - task.x).abs().max())
            if inside > task.eps * (1 + 1e-4):
                sys.exit(f"{name} left the ball: {inside} > {task.eps}")
            if turn:
                spent[name].append(took)
    found = {
        name: {"seconds": round(median(spent[name]), 3), "robust_accuracy": round(robust[name], 4)} for name in sides
    }
    ratios = {}
    for peer in ("foolbox", "art"):
        enough = [name for name in sides if name.startswith("ours") and robust[name] <= robust[peer]]
        fastest = min(enough, key=lambda name: median(spent[name]), default=None)
        ratios[peer] = {
            "reached_by": fastest,
            "times_faster": round(median(spent[peer]) / median(spent[fastest]), 2) if fastest else None,
            "times_faster_at_equal_steps": round(median(spent[peer]) / median(spent[f"ours, {steps} steps"]), 2),
        }
    return {"steps": steps, "images": len(task.x), "sides": found, "ratios": ratios}


def table(results: list[dict[str, Any]]) -> str:
    head = ("model", "eps", "passes/s, bare", "passes/s, PGD", "kept", "laid out: bare", "PGD", "kept",
            "robust accuracy: foolbox", "art", "ours", "times faster to foolbox's", "to art's")  # fmt: skip
    lines: list[tuple[Any, ...]] = [head]
    for one in results:
        passes, sides, ratios = one["rate"]["passes_per_second"], one["tools"]["sides"], one["tools"]["ratios"]
        robust = [sides[name]["robust_accuracy"] for name in ("foolbox", "art", f"ours, {one['tools']['steps']} steps")]
        times = [ratios[name]["times_faster"] or "not reached" for name in ("foolbox", "art")]
        lines.append((one["model"], f"{one['eps']:.4g}", f"{passes['bare']:,.0f}", f"{passes['pgd']:,.0f}",
                      f"{one['rate']['kept']:.3f}", f"{passes['bare, laid out']:,.0f}",
                      f"{passes['pgd, laid out']:,.0f}", f"{one['rate']['kept, laid out']:.3f}",
                      *(f"{value:.3f}" for value in robust), *times))  # fmt: skip
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="+", metavar="RUN:EPS", help="run folders with trained weights, eps in linf")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rate-steps", type=int, default=100)
    parser.add_argument("--steps", type=int, default=40, help="of the tools")
    parser.add_argument(
        "--ladder", type=int, nargs="*", default=[5, 10, 20, 60, 80], help="other steps that ours is tried with"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short-rounds", type=int, default=15, help="of the rate")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    keep_freed_memory()  # as every command of gambeson does, for all sides
    results = []
    for text in chosen.tasks:
        path, _, eps = text.rpartition(":")
        run = Run.open(path)
        part = data.load(run.header["dataset"], "test").every(1, chosen.images)
        model = load(run.path / "model.safetensors").to(chosen.device)
        x, y = part.pixels().to(chosen.device), part.labels.to(chosen.device)
        with frozen(model):
            task = Task(run.path.name, model, x, y, float(eps))
            found = {"model": task.name, "architecture": run.header["model"], "eps": task.eps}
            found["rate"] = rate(task, chosen.rate_steps, chosen.short_rounds)
            found["tools"] = tools(task, chosen.steps, chosen.ladder, chosen.rounds)
        results.append(found)
        print(json.dumps(found), file=sys.stderr, flush=True)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "attacks.json").write_text(json.dumps({**origin(), "results": results}, indent=1) + "\n")
    (chosen.out / "attacks.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
