"""Small made-up classifiers, and the checks that tests and their mutants share."""

import random
from copy import deepcopy
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from gambeson.geometry import distance


def _blobs(count, seed):
    """Four faint templates of 8x8 pixels under noise: what a small network learns well, but not robustly."""
    draw = torch.Generator().manual_seed(seed)
    templates = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(7))
    y = torch.randint(4, (count,), generator=draw)
    x = 0.25 + 0.5 * templates[y] + 0.15 * torch.randn(count, 1, 8, 8, generator=draw)
    return x.clamp(0, 1), y


@pytest.fixture(scope="session")
def trained():
    """A small convolutional net trained on blobs, in eval mode, with 120 fresh images: net, x, y."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, 4),
        )
    x, y = _blobs(512, 1)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for epoch in range(12):
        for rows in torch.randperm(512, generator=torch.Generator().manual_seed(epoch)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    net.eval().zero_grad(set_to_none=True)
    x, y = _blobs(120, 2)
    assert (net(x).argmax(1) == y).float().mean() > 0.9
    return SimpleNamespace(net=net, x=x, y=y)


@pytest.fixture
def exact(trained):
    """The trained net in float64, where the batch split changes nothing that matters."""
    return SimpleNamespace(net=deepcopy(trained.net).double(), x=trained.x.double(), y=trained.y)


@dataclass
class Counted:
    """A classifier that counts its calls and backward passes, and keeps what it was asked."""

    logits: object
    forward: int = 0
    backward: int = 0
    asked: list = field(default_factory=list)

    def __call__(self, x):
        self.forward += 1
        z = self.logits(x)
        if z.requires_grad:
            z.register_hook(self._count)
        self.asked.append((x.detach().clone(), z.detach().clone()))
        return z

    def _count(self, _):
        self.backward += 1


@pytest.fixture
def counted():
    return Counted


@pytest.fixture
def inside():
    """The contract of every attack: detached, in its dtype, in the ball measured in float64, in the box."""

    def check(result, x, ball, box=(0.0, 1.0)):
        assert result.x_adv.shape == x.shape
        assert result.x_adv.dtype == x.dtype
        assert not result.x_adv.requires_grad
        measured = distance(result.x_adv.double() - x.double(), ball.norm)
        assert torch.equal(measured, result.distance)
        assert (measured <= ball.eps).all()
        assert result.x_adv.min() >= box[0]
        assert result.x_adv.max() <= box[1]

    return check


@pytest.fixture
def global_randomness():
    """A snapshot of every global random state."""

    def snapshot():
        name, words, *rest = np.random.get_state()  # noqa: NPY002
        return torch.random.get_rng_state().tolist(), random.getstate(), (name, words.tolist(), *rest)

    return snapshot
