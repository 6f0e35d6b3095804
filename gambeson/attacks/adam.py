"""Adam's step for images that are optimised each on its own."""

import torch
from torch import Tensor


def adam(grad: Tensor, state: tuple[Tensor, ...], count: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The step, about 1 in every pixel, along gradients (n, ...), and what is remembered, one row per image.

    state: () at the first step, when `count` is 1. Kingma and Ba 2015, arXiv:1412.6980: 0.9, 0.999, 1e-8.
    """
    mean, square = state or (torch.zeros_like(grad), torch.zeros_like(grad))
    mean, square = 0.9 * mean + 0.1 * grad, 0.999 * square + 0.001 * grad.square()
    step = mean / (1 - 0.9**count) / ((square / (1 - 0.999**count)).sqrt() + 1e-8)
    return step, (mean, square)
