"""Adam's step for images that are optimised each on its own."""

import torch
from torch import Tensor


class Adam:
    """Steps, to be subtracted, of about `rate` in every pixel (Kingma and Ba 2015, arXiv:1412.6980)."""

    def __init__(self, like: Tensor, rate: float) -> None:
        self.rate, self._mean, self._square = rate, torch.zeros_like(like), torch.zeros_like(like)

    def __call__(self, grad: Tensor, count: int) -> Tensor:
        """count: 1 at the first step."""
        self._mean = 0.9 * self._mean + 0.1 * grad
        self._square = 0.999 * self._square + 0.001 * grad.square()
        mean, square = self._mean / (1 - 0.9**count), self._square / (1 - 0.999**count)
        return self.rate * mean / (square.sqrt() + 1e-8)

    def select(self, rows: Tensor) -> None:
        self._mean, self._square = self._mean[rows], self._square[rows]
