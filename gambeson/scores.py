"""Scores: the softmax of one class, counted in bins (`gambeson.stats.score_bins`), rounded down."""

import torch
from torch import Tensor

from gambeson.stats import score_bins


def score_bins_of(logits: Tensor, named: Tensor) -> Tensor:
    """The bin (n,) of softmax(logits)[named] for logits (n, K) and classes (n,); the last, score 0, where not finite.

        miss = 1 - softmax(z)_c = sum_{j != c} e^(z_j - max z) / sum_j e^(z_j - max z)

    The miss is a ratio of sums of positive terms, so that it is right to a few roundings of float64 however near the
    score is to 1: differences of float32 logits are off by at most 1e-13 where their exponential is not 0, and 1e-9 of
    the miss is added. What underflows belongs in the first bin anyway.
    """
    z = logits.double()
    weight = (z - z.amax(1, keepdim=True)).exp()
    other = weight.scatter(1, named[:, None], 0.0).sum(1)
    miss = other / weight.sum(1) * (1 + score_bins.COMPUTED)
    miss = torch.where(torch.isfinite(logits).all(1), miss, 1.0)
    edges = torch.from_numpy(score_bins.largest_misses()).to(miss.device)
    return torch.bucketize(miss, edges).clamp_(max=score_bins.BINS - 1)
