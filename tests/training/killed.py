"""A run that can be killed: a network with dropout and batch norm, noise, momentum, schedules and a loss state."""

import time
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gambeson.training import train


def slow(players: Any, x: Any, y: Any, *, state: Any, generator: Any, sigma: float, pause: float) -> Any:
    """Noisy cross-entropy plus a pull towards a running mean of the logits."""
    time.sleep(pause)
    logits = players["model"](x + sigma * torch.randn(x.shape, generator=generator))
    mean = 0.9 * state.get("mean", torch.zeros(3)) + 0.1 * logits.detach().mean(0)
    return {"cross_entropy": cross_entropy(logits, y), "pull": 0.1 * (logits - mean).square().mean()}, {"mean": mean}


def run(folder: str, pause: float) -> nn.Module:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = torch.rand(50, 1, 4, 4), torch.arange(50) % 3
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 3)
    )
    train(
        model, [(x, y)], loss=lambda *a, **k: slow(*a, pause=pause, **k), method={"sigma": {"from": 0.0, "to": 0.5}},
        validation=[(x, y)], schedule={"lr": "cosine"}, augment={"flip": True}, seed=4, run=folder, epochs=12, batch=8,
        keep="best", checkpoint_seconds=0.02, ratio_steps=2,
    )  # fmt: skip
    return model
