"""What training costs: passes counted by hooks on the module, and the time of a step relative to plain training.

One forward pass is one call of the network, whatever the number of rows; `examples_forward` counts the rows. One
backward pass is one traversal of such a call by autograd. One double-backward pass is one traversal of the graph that
a backward pass with create_graph=True left behind, counted where the gradient with respect to the network's *input*
is differentiated. Attacks inside a loss and the passes of all players count; validation does not.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

WARMUP = 3  # steps of each kind that are not timed


@dataclass
class Counts:
    """Running totals of one training run, over all its sessions."""

    forward_passes: int = 0
    backward_passes: int = 0
    double_backward_passes: int = 0
    examples_forward: int = 0


@contextmanager
def counting(players: Mapping[str, nn.Module], counts: Counts) -> Iterator[None]:
    """Count the passes through every player into `counts`; the modules are left without hooks."""

    def differentiated(_: Tensor) -> None:
        counts.double_backward_passes += 1

    def input_gradient(gradient: Tensor) -> None:
        if torch.is_grad_enabled() and gradient.requires_grad:
            gradient.register_hook(differentiated)

    def backward(_: Tensor) -> None:
        counts.backward_passes += 1

    def before(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(inputs[0], Tensor) and inputs[0].requires_grad and torch.is_grad_enabled():
            inputs[0].register_hook(input_gradient)

    def after(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        counts.forward_passes += 1
        counts.examples_forward += len(inputs[0])
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(backward)

    handles = []
    for module in players.values():
        handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def peak_memory(device: torch.device) -> int:
    """Bytes: the process's largest resident set so far, or the most that torch had allocated on a GPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    if status.exists():  # Linux: a new process inherits ru_maxrss from the one that started it
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most if sys.platform == "darwin" else most * 1024)


def ratio_to_plain(
    steps: int, method: Callable[[], None], plain: Callable[[], None], synchronise: Callable[[], None]
) -> float | None:
    """Median seconds of a method's step over a plain one's: `steps` of each, alternating: a busy machine hits both."""
    if steps == 0:
        return None
    seconds: dict[Callable[[], None], list[float]] = {method: [], plain: []}
    for turn in range(WARMUP + steps):
        for step in (method, plain):
            begun = time.perf_counter()
            step()
            synchronise()
            if turn >= WARMUP:
                seconds[step].append(time.perf_counter() - begun)
    return median(seconds[method]) / median(seconds[plain])
