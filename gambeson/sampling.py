"""The only Monte Carlo loop: count the classes that a model gives to noisy copies of images.

Integer counts only (of classes, of scores in bins): memory does not grow with `draws`. Several requests share calls of
the served model, so that small requests do not waste large batches. Where the row of a call changes the logits, a
request has calls of its own and draw j is in row j mod batch, always, so that whole calls fill all rows equally often.
The loop knows nothing of stages; its callers give the selection and the estimation of an image different keys
(`gambeson.smoothed`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gambeson.bursts import Request, ahead, calls_at_once
from gambeson.errors import UserError
from gambeson.inference import Served
from gambeson.keys import Part
from gambeson.noise import Lattice
from gambeson.scores import score_bins_of
from gambeson.stats import score_bins


@dataclass(frozen=True, eq=False)
class Counts:
    """How often each class won; draws whose logits are not all finite count for no class.

    scores: how often the score (softmax) of the class that a request named fell into each of `score_bins`; the score of
    a draw without finite logits is 0.
    """

    classes: NDArray[np.int64]
    draws: int
    scores: NDArray[np.int64] | None = None

    @property
    def nonfinite(self) -> int:
        return self.draws - int(self.classes.sum())

    def __add__(self, other: "Counts") -> "Counts":
        scores = None if self.scores is None or other.scores is None else self.scores + other.scores
        return Counts(self.classes + other.classes, self.draws + other.draws, scores)


def count(
    served: Served,
    image: Tensor,
    *,
    noise: Lattice,
    draws: int,
    key: tuple[Part, ...],
    classes: int,
    first: int = 0,
) -> Counts:
    """Class counts of noisy copies of one image: `counts` of one request.

    noise: its lattice is the image's. classes: the number of logits. Raises UserError for an image that is not on a
    lattice or a model whose number of logits differs.
    """
    return counts(served, [Request(image, key, draws, first)], noise=noise, classes=classes)[0]


def counts(
    served: Served,
    requests: Sequence[Request],
    *,
    noise: Lattice,
    classes: int,
    over: Callable[[], bool] = lambda: False,
) -> list[Counts]:
    """Class counts of every request, and score counts of those that name a class; the requests share the calls of
    `served`, all images of one shape.

    over: asked after every call; once it is true, the rest is left: the last requests have fewer draws than they ask
    for, or none. Requests for that rest alone, in the same order, see the very calls that were left.
    """
    if not requests:
        return []
    device, batch = served.form.device, served.form.batch
    total = torch.zeros(len(requests) * (classes + 1), dtype=torch.int64, device=device)
    drawn = np.zeros(len(requests), np.int64)
    wanted = any(request.score is not None for request in requests)
    scores = torch.zeros((len(requests) if wanted else 0, score_bins.BINS), dtype=torch.int64, device=device)
    named = torch.tensor([request.score or 0 for request in requests], device=device)
    calls = calls_at_once(requests, batch)
    images = served.form.zeros(tuple(requests[0].image.shape), calls)
    exact = images if images.dtype == torch.float32 else torch.zeros_like(images, dtype=torch.float32)
    drawing = ahead(requests, noise, served.form, calls=calls, apart=served.positions == "mixture")
    stop = False
    with served.form.pinned(), drawing as start:
        coming = start()
        while not stop and (burst := coming()) is not None:
            # The sum is an integer, divided once in float32: nothing downstream sees the image or the noise alone.
            exact.copy_(torch.from_numpy(burst.cells).to(device))
            images.copy_(exact.div_(noise.unit))
            coming = start()  # from here on `cells` is written again
            answers, end = [], burst.first + len(burst.owner)
            for at in range(0, end, batch):
                answers.append(served(images[at : at + batch]))
                if stop := over():
                    break
            logits = torch.cat(answers)[burst.first : end]
            known = burst.owner[: len(logits)]
            owner = torch.from_numpy(known).to(device, non_blocking=True)
            _add_votes(total, logits, owner, classes)
            if wanted:
                _add_scores(scores, logits, owner, named)
            drawn += np.bincount(known, minlength=len(requests))
    table = total.reshape(len(requests), classes + 1)[:, :classes].cpu().numpy()
    found = [Counts(row, draws) for row, draws in zip(table, drawn.tolist(), strict=True)]
    if not wanted:
        return found
    rows = zip(found, requests, scores.cpu().numpy(), strict=True)
    return [one if request.score is None else replace(one, scores=row) for one, request, row in rows]


def to_lattice(pixels: Tensor, levels: int) -> Tensor:
    """Float pixels in [0, 1] to the nearest lattice integers (int32). The smoothed classifier rounds what it is
    given.
    """
    return (pixels.double() * levels).round().to(torch.int32)


def _add_votes(total: Tensor, logits: Tensor, owner: Tensor, classes: int) -> None:
    if logits.shape[1] != classes:
        raise UserError(f"the model gives {logits.shape[1]} logits, the data has {classes} classes; they must agree")
    winner = torch.where(torch.isfinite(logits).all(1), logits.argmax(1), classes)
    winner += owner * (classes + 1)
    total.scatter_add_(0, winner, torch.ones_like(winner))


def _add_scores(total: Tensor, logits: Tensor, owner: Tensor, named: Tensor) -> None:
    """Count the score of every row's named class; rows of requests that name none are counted and never read."""
    place = score_bins_of(logits, named[owner]) + owner * score_bins.BINS
    total.view(-1).scatter_add_(0, place, torch.ones_like(place))
