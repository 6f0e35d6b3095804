"""Trains in one or two processes and writes the weights: python shared_batch.py DEVICES FOLDER [KILL_AFTER_STEPS]."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gambeson.training import train


def penalty(players: Any, x: Any, y: Any, *, state: Any, generator: Any) -> Any:
    """Cross-entropy, the squared norm of its gradient with respect to the image, and a pull to a running mean."""
    x = x.requires_grad_()
    losses = cross_entropy(players["model"](x), y, reduction="none")
    (slope,) = torch.autograd.grad(losses.sum(), x, create_graph=True)
    mean = state.get("mean", torch.zeros((), dtype=x.dtype))
    terms = {"penalty": slope.square().flatten(1).sum(1).mean(), "pull": 0.1 * (losses - mean).square().mean()}
    return {"cross_entropy": losses.mean(), **terms}, {"mean": 0.5 * mean + 0.5 * losses.detach().mean()}


def main(devices: int, folder: Path) -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(29, 1, 4, 4, generator=generator), torch.arange(29) % 3  # batches of 9, 9, 9 and 2
    for name, loss in (("plain", "plain"), ("penalty", penalty)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))
        result = train(
            model, [(x, y)], loss=loss, validation=[(x, y)], optimizer={"lr": 0.1, "weight_decay": 1e-3}, epochs=3,
            batch=9, precision="64-true", device="cpu", devices=devices, run=folder / name, ratio_steps=0,
        )  # fmt: skip
        if devices == 1 or torch.distributed.get_rank() == 1:  # rank 1 has the same weights as rank 0
            torch.save({"model": model.state_dict(), "metrics": result.metrics}, folder / f"{name}.pt")
    if devices == 2:
        torch.distributed.destroy_process_group()


def killed(folder: Path, after: int) -> None:
    """15 steps an epoch, a checkpoint at step 16; dies without a word after so many steps (0: lives)."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(29, 1, 4, 4, generator=generator), torch.arange(29) % 3
    calls = [0]

    def mortal(players: Any, x: Any, y: Any, *, state: Any, generator: Any) -> Any:
        calls[0] += 1
        if calls[0] == after:
            os._exit(9)
        return {"cross_entropy": cross_entropy(players["model"](x), y)}, state

    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    train(
        model, [(x, y)], loss=mortal, optimizer={"lr": 0.1}, epochs=2, batch=2, precision="64-true", device="cpu",
        devices=2, run=folder, ratio_steps=0, checkpoint_seconds=1e-6, identity={"run": "killed"},
    )  # fmt: skip
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    if len(sys.argv) > 3:
        killed(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(int(sys.argv[1]), Path(sys.argv[2]))
