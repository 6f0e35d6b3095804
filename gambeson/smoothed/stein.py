"""The soft smoothed classifier with a gradient that asks for no gradient: Stein's estimator."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gambeson.errors import UserError
from gambeson.smoothed.soft import SoftSmoothed, soft
from gambeson.types import Classifier, Images, Logits


@dataclass(frozen=True, eq=False)
class Stein:
    """images (N, C, H, W) -> what `soft` says of them, its gradient from scores alone."""

    soft: SoftSmoothed
    sigma: float

    def __call__(self, x: Images) -> Logits:
        with torch.no_grad():
            log_p = self.soft.each(x)
        found: Tensor = _Estimated.apply(x, log_p, self.soft.noise, self.sigma)
        return found

    def select(self, rows: Tensor) -> "Stein":
        return replace(self, soft=self.soft.select(rows))


class _Estimated(torch.autograd.Function):
    """log of the mean of exp(log_p) (N, m, K) over the draws; the gradient to x is Stein's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, log_p: Tensor, noise: Tensor, sigma: float) -> Tensor:
        mean = log_p.logsumexp(1) - math.log(log_p.shape[1])
        ctx.save_for_backward(log_p, mean, noise)
        ctx.sigma = sigma
        return mean

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        log_p, mean, noise = ctx.saved_tensors
        draws = log_p.shape[1]
        # d log E p_k = E[noise (p_k - E p_k)] / (sigma^2 E p_k); the mean is subtracted, which changes no expectation
        # but for m draws' own share in it, and takes away most of the variance.
        share = (log_p - mean[:, None]).exp() - 1
        weight = (share * upstream[:, None]).sum(2) / (ctx.sigma**2 * max(draws - 1, 1))
        weight = weight.reshape(*weight.shape, *[1] * (noise.dim() - 2)).to(noise.dtype)
        return (weight * noise).sum(1), None, None, None


def stein(logits: Classifier, noise: Tensor, *, sigma: float, chunk: int | None = None) -> Stein:
    """`soft(logits, noise)` whose gradient is estimated from its values: for classifiers that have none, or hide it.

        grad log E p_k(x + noise)  ~  sum_j noise_j (p_k(x + noise_j) - mean_k) / (sigma^2 (m - 1) mean_k)

    logits  images -> logits (n, K); never differentiated: it may be anything that returns scores.
    noise   float (N, m, C, H, W), Gaussian with standard deviation `sigma` in pixel units, m >= 2.
    chunk   draws per image in one call of `logits`; None: all.

    >>> base = lambda images: torch.stack([images.sum((1, 2, 3)), -images.sum((1, 2, 3))], 1).sign()
    >>> noise = torch.randn(1, 2_000, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    >>> x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    >>> bool((torch.autograd.grad(stein(base, noise, sigma=1.0)(x)[0, 0], x)[0] > 0).all())
    True

    Stein 1981, for attacks Salman et al. 2019, arXiv:1906.04584; the mean that is subtracted is ours.
    """
    if noise.dim() < 3 or noise.shape[1] < 2 or not noise.is_floating_point():
        raise UserError(f"noise is {noise.dtype} {tuple(noise.shape)}; it must be float (N, m, C, H, W), m >= 2")
    if not sigma > 0:
        raise UserError(f"sigma is {sigma}; it must be > 0, in pixel units")
    return Stein(soft(logits, noise, chunk=chunk), sigma)
