"""Ordinary training: cross-entropy on the images as they are."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson.losses.terms import answer
from gambeson.types import Images, Labels


def plain(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """Cross-entropy: CE(f(x), y), the mean over the batch.

    Args:
        players: {"model": f}, images -> logits (N, K).
        x: images (N, C, H, W) in [0, 1].
        y: labels (N,).
        state: handed back as it came.
        generator: not used.
    Returns:
        ({"cross_entropy": scalar}, state).

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = plain({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                  generator=torch.Generator())
    >>> round(terms["cross_entropy"].item(), 4)
    0.6931
    """
    return {"cross_entropy": cross_entropy(answer(players["model"], x), y)}, state
