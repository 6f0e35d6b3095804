"""Several images' procedures at once, their draws in shared calls of the model."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gambeson.keys import Part
from gambeson.sampling import counts
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.procedure import Ask, Procedure


def together(
    smoothed: Smoothed, procedures: Sequence[Procedure], images: Tensor, indices: Sequence[Part]
) -> list[dict[str, Any]]:
    """Run every procedure to its end; what an image is sent does not depend on its company.

    images: float (N, C, H, W) in [0, 1]; indices: what names their noise, such as stable indices.
    """
    asks: dict[int, Ask] = {row: next(procedure) for row, procedure in enumerate(procedures)}
    done: dict[int, dict[str, Any]] = {}
    while asks:
        requests = [smoothed.request(images[row], indices[row], ask) for row, ask in asks.items()]
        found = counts(smoothed.base, requests, noise=smoothed.noise, classes=smoothed.classes)
        for row, answer in zip(list(asks), found, strict=True):
            try:
                asks[row] = procedures[row].send(answer)
            except StopIteration as finished:
                done[row] = finished.value
                del asks[row]
    return [done[row] for row in range(len(procedures))]
