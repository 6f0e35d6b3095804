"""A network whose losses follow from sigmoids, and two images of one pixel."""

from math import exp, log

import torch
from torch import Tensor, nn

X, Y = torch.tensor([[[[0.2]]], [[[0.7]]]], dtype=torch.float64), torch.tensor([0, 1])
NOISE = torch.tensor([[[[1.0]]], [[[-2.0]]]], dtype=torch.float64)


class Scalar(nn.Module):
    """Logits (a x, 0) for one-pixel images: everything below follows from sigmoids."""

    def __init__(self, a: float = 1.5) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.a * x.flatten(), torch.zeros(len(x), dtype=x.dtype)], 1)


def p(x: float, a: float = 1.5) -> float:
    """Probability of class 0."""
    return 1 / (1 + exp(-a * x))


def ce(x: float, y: int) -> float:
    return -log(p(x) if y == 0 else 1 - p(x))
