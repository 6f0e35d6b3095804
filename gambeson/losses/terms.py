"""What several losses share: noisy copies and the two divergences between predictions."""

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from gambeson.noise import Kind, Noise, draw, noisy
from gambeson.types import Images, Logits


def noisy_copy(x: Images, kind: Kind, scale: float, generator: torch.Generator) -> Images:
    """x + noise, a fresh draw for every value, not clipped to [0, 1] (nor do the certificates); scale 0 gives x.
    Splitting noise is not added: x's values become the middles of their cells.
    """
    if scale == 0:
        return x
    noise = Noise(kind, scale)
    return noisy(noise, x, draw(noise, tuple(x.shape), generator, x.device, x.dtype))


def soft_cross_entropy(target: Logits, logits: Logits) -> Tensor:
    """Mean over rows of H(p, q) = -sum_j p_j log q_j, p = softmax(target), q = softmax(logits); nothing is detached.

    >>> round(soft_cross_entropy(torch.zeros(1, 2), torch.zeros(1, 2)).item(), 4)
    0.6931
    """
    return -(log_softmax(target, 1).exp() * log_softmax(logits, 1)).sum(1).mean()


def kl_divergence(target: Logits, logits: Logits) -> Tensor:
    """Mean over rows of KL(p || q) = sum_j p_j (log p_j - log q_j), p and q as above; nothing is detached."""
    p = log_softmax(target, 1)
    return (p.exp() * (p - log_softmax(logits, 1))).sum(1).mean()
