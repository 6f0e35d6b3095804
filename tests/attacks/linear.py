"""Linear models, whose nearest adversarial points are known."""

import math

import torch

DUAL = {"linf": 1, "l2": 2, "l1": math.inf}


def linear(seed=0, size=20, classes=2, count=5, away=None, norm="l2"):
    """z = W x + b, and images near 0.5; away: all of class 0, at about that distance of its nearest boundary."""
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(classes, size, generator=draw, dtype=torch.float64)
    x = 0.5 + 0.02 * torch.randn(count, 1, 4, size // 4, generator=draw, dtype=torch.float64)
    bias = -weight.sum(1) * 0.5
    if away is not None:
        bias[0] += away * torch.linalg.vector_norm(weight[0] - weight[1:], ord=DUAL[norm], dim=1).min()

    def logits(images):
        return images.flatten(1) @ weight.T + bias

    return logits, weight, x, logits(x).argmax(1)


def nearest(logits, weight, x, y, norm):
    """The distance of every image to its nearest other class, box aside: (z_y - z_s) / ||w_y - w_s||_dual."""
    z = logits(x)
    gaps = z.gather(1, y[:, None]) - z
    duals = torch.linalg.vector_norm(weight[y][:, None] - weight[None], ord=DUAL[norm], dim=2)
    return torch.where(duals > 0, gaps / duals, torch.inf).min(1)
