"""The soft smoothed classifier: a plain `images -> logits` callable, so that every attack attacks it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from operator import add
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gambeson.attacks.objectives import full
from gambeson.errors import UserError
from gambeson.types import Classifier, Images, Logits

Order = Literal["log_of_mean", "mean_of_log"]
AT_ONCE = 4_096  # noisy images in one call where no graph keeps them anyway: attacks on scores ask for many points


@dataclass(frozen=True, eq=False)
class SoftSmoothed:
    """images (N, C, H, W) -> log of the mean softmax under `noise` (N, m, C, H, W): fixed draws, m for each image."""

    logits: Classifier
    noise: Tensor
    chunk: int | None = None
    noisy: Callable[[Tensor, Tensor], Tensor] = add
    order: Order = "log_of_mean"

    @property
    def draws(self) -> int:
        """Noisy images for each image."""
        return self.noise.shape[1]

    def __call__(self, x: Images) -> Logits:
        each = self.each(x)
        return each.logsumexp(1) - math.log(self.draws) if self.order == "log_of_mean" else each.mean(1)

    def each(self, x: Images) -> Tensor:
        """log softmax (N, m, K) of every noisy image."""
        if x.shape != self.noise[:, 0].shape:
            raise UserError(
                f"images are {tuple(x.shape)} but the noise draws are for {tuple(self.noise[:, 0].shape)}; "
                "call with the same images in the same order, or narrow with .select(rows)"
            )
        if not torch.is_grad_enabled() and len(x) > (most := max(1, AT_ONCE // self.draws)):
            parts = torch.arange(len(x), device=self.noise.device).split(most)
            return torch.cat([self.select(rows).each(x[rows]) for rows in parts])
        if self.chunk is None or self.chunk >= self.draws:
            return self._log_softmax(x, self.noise)
        one: Callable[[Images, Tensor], Tensor] = self._log_softmax
        if torch.is_grad_enabled():  # a chunk is computed again in the backward pass instead of being kept
            one = partial(checkpoint, self._log_softmax, use_reentrant=False, preserve_rng_state=False)
        return torch.cat([one(x, part) for part in self.noise.split(self.chunk, dim=1)], 1)

    def select(self, rows: Tensor) -> "SoftSmoothed":
        """The classifier of images `rows` alone (LongTensor or boolean mask over the present N), with their draws."""
        return replace(self, noise=self.noise[rows])

    def _log_softmax(self, x: Images, noise: Tensor) -> Tensor:
        z = full(self.logits(self.noisy(x[:, None], noise.to(x.dtype)).flatten(0, 1)))
        return z.log_softmax(1).unflatten(0, noise.shape[:2])


def soft(
    logits: Classifier,
    noise: Tensor,
    *,
    chunk: int | None = None,
    noisy: Callable[[Tensor, Tensor], Tensor] = add,
    order: Order = "log_of_mean",
) -> SoftSmoothed:
    """The soft smoothed classifier: log (1/m) sum_j softmax(logits(x + noise_j)).

    `pgd(soft(logits, noise), ..., loss="cross_entropy")` climbs SmoothAdv's objective (S), the log of the expectation,
    -log (1/m) sum_j p_y(x + noise_j), with the draws fixed through the attack; the mean of the logs, (1/m) sum_j -log
    p_y, attacks another classifier (Salman et al. 2019, arXiv:1906.04584, section 2.2). The gradient is the biased
    plug-in one of their equation 6. m = 1 is the cross-entropy of one noisy image.

    logits  images -> logits (n, K), called on N * m noisy images, image by image. Noise is added in [0, 1] pixel units
            and never clipped.
    noise   float (N, m, C, H, W), m >= 1 draws for each of N images (see `gambeson.noise.draw`).
    chunk   draws per image in one call of `logits`; None: all. Less memory; with gradients every chunk runs forward
            twice.
    noisy   images (N, 1, C, H, W) and `noise` -> noisy images: the sum, or `partial(gambeson.noise.noisy, law)`, which
            knows the noises that are not added.
    order   "log_of_mean", or "mean_of_log": (1/m) sum_j log softmax(logits(x + noise_j)), which is no log-probability.
            Expectation over transformations attacks it, with loss="log_probability": the wrong objective, to compare.

    Returns a SoftSmoothed: images (N, C, H, W) -> log-probabilities (N, K) in float32 or better.

    >>> base = lambda images: torch.stack([images.sum((1, 2, 3)), -images.sum((1, 2, 3))], 1)
    >>> soft(base, torch.zeros(1, 4, 1, 2, 2))(torch.zeros(1, 1, 2, 2)).exp()
    tensor([[0.5000, 0.5000]])

    Different from the authors' code: log-softmax and logsumexp instead of log(clamp(mean, 1e-20)), so the gradient does
    not vanish where the true class is all but lost.
    """
    if noise.dim() < 3 or noise.shape[1] < 1 or not noise.is_floating_point():
        raise UserError(f"noise is {noise.dtype} {tuple(noise.shape)}; it must be float (N, m, C, H, W), m >= 1")
    if chunk is not None and chunk < 1:
        raise UserError(f"chunk is {chunk}; it must be at least 1 draw, or None for all at once")
    if order not in get_args(Order):
        raise UserError(f"order is {order!r}; it must be one of {', '.join(get_args(Order))}")
    return SoftSmoothed(logits, noise.detach(), chunk, noisy, order)
