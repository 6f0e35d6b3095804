"""A small trained network, on the lattice and as a user would bring it."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gambeson.data import Dataset


def _blobs(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    templates = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(7))
    y = torch.randint(3, (count,), generator=draw)
    x = 0.2 + 0.6 * templates[y] + 0.2 * torch.randn(count, 1, 6, 6, generator=draw)
    return (x.clamp(0, 1) * 255).round().to(torch.uint8), y


@pytest.fixture(scope="session")
def trained() -> SimpleNamespace:
    """model, data (60 images on the lattice, stable indices 0, 20, 40, ...), and the same as pairs of floats."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3))
        x, y = _blobs(600, 1)
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(6):
            for rows in torch.randperm(600).split(60):
                optimizer.zero_grad()
                pixels = x[rows].float() / 255
                nn.functional.cross_entropy(model(pixels + 0.2 * torch.randn(pixels.shape)), y[rows]).backward()
                optimizer.step()
    model.eval().zero_grad(set_to_none=True)
    images, labels = _blobs(60, 2)
    data = Dataset("blobs", "test", images, labels, 255, ("a", "b", "c"), torch.arange(60) * 20)
    pairs = [(pixels, int(label)) for pixels, label in zip(data.pixels(), labels, strict=True)]
    return SimpleNamespace(model=model, data=data, pairs=pairs)


@pytest.fixture
def without_seconds():
    return lambda records: [{k: v for k, v in record.items() if k != "seconds"} for record in records]
