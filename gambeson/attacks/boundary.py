"""Boundary: a walk along the decision boundary that needs nothing but the predicted class."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gambeson import keys as _keys
from gambeson.attacks.arguments import check_aims, check_some
from gambeson.attacks.nearest import Nearest, begin, end, hard, keep
from gambeson.attacks.result import Result
from gambeson.attacks.search import Rows, Seen, column, look
from gambeson.errors import UserError
from gambeson.geometry import box_bounds
from gambeson.types import Box, Classifier, Images, Labels

_ADAPT = 1.5  # what steps are multiplied with, or divided by
_SPHERE_WINDOW, _SOURCE_WINDOW = 10, 30  # tries between two looks at how many succeeded
_SPHERE_EVERY = 10  # steps between two queries for the step on the sphere alone
_GUESSES, _HALVINGS = 100, 10  # of the start: images of noise, and halvings of the way from one of them to x
FEWEST_QUERIES = _GUESSES + 2 * _HALVINGS  # which leaves a few for the walk


def boundary(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    queries: int = 5_000,
    sphere_step: float = 0.01,
    source_step: float = 0.01,
    starts: Images | None = None,
    targets: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """A small l2 perturbation that fools, found from decisions alone: random steps on a sphere, then towards x.

    From a point that fools: a random step orthogonal to the way to x, `sphere_step` of that distance long, back onto
    the sphere around x, then `source_step` of the distance towards x. It is taken where it fools and is nearer. Steps
    on the sphere are made longer where more than half of them fool, shorter where fewer than a fifth do; steps towards
    x likewise, at a quarter and a tenth: so that both follow the boundary as it is.

    queries   of the classifier for each image, all of them, the start's too: >= 120, never exceeded.
    starts    points that fool, in the shape of x; None: noise in the box, up to 100 images, and from the first that
              fools ten halvings of the way to x.
    targets, box, keys: as in `pgd`; `keys` say every random step.

    Returns the nearest point visited that fools. Where no start does, x comes back and `Result.reason` says so.

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> round(boundary(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0])).distance.item(), 1)
    0.2

    Brendel et al. 2018, arXiv:1712.04248. Different from foolbox's code: windows of 10 tries for steps on the sphere
    and of 30 for steps towards x (100 and 30 there), and each adapts its own step alone.
    """
    box = box or Box()
    keys = range(len(x)) if keys is None else keys
    check_some(x, y, box=box, keys=keys, queries=queries)
    check_aims(x, y, targets, None)
    if queries < FEWEST_QUERIES:
        raise UserError(f"queries is {queries}; it must be at least {FEWEST_QUERIES}: a start takes so many")
    if not (0 < sphere_step < 1 and 0 < source_step < 1):
        raise UserError(f"sphere_step is {sphere_step}, source_step {source_step}; they must be > 0 and < 1")
    if starts is not None and starts.shape != x.shape:
        raise UserError(f"starts are {tuple(starts.shape)} for images {tuple(x.shape)}; give one point for each image")
    with torch.inference_mode(False), torch.no_grad():
        everyone, nearest = begin(logits, x, y, targets, loss="margin")
        asked = torch.full((len(x),), 3, device=x.device)  # the first look, the last, and one if that loses a point
        rows = hard(everyone, nearest)
        draws = [_keys.generator(int(keys[row]), "boundary") for row in rows.number.tolist()]
        _guess(rows, nearest, asked, draws, starts, box)
        left = nearest.found[rows.number].nonzero()[:, 0]
        rows, draws = rows.select(left), [draws[place] for place in left.tolist()]
        if len(rows.x):
            _walk(rows, nearest, asked, draws, queries, sphere_step, source_step, box)
    return end(
        logits, x, y, nearest, everyone, norm="l2", loss="margin", box=box, looks=1,
        reasons=lambda row: f"no start was found that fools, in {int(asked[row])} queries",
    )  # fmt: skip


def _guess(
    rows: Rows, nearest: Nearest, asked: Tensor, draws: Sequence[np.random.Generator], starts: Images | None, box: Box
) -> None:
    """Points that fool, nearer to x than noise is."""
    lower, upper = box_bounds(box, rows.x.dtype)
    place = torch.arange(len(rows.x), device=rows.x.device)
    for _ in range(1 if starts is not None else _GUESSES):
        left = (~nearest.found[rows.number[place]]).nonzero()[:, 0]
        if len(left) == 0:
            break
        place = place[left]
        some = rows.select(place)
        if starts is not None:
            x_adv = starts[some.number].to(some.x).clamp(lower, upper)
        else:
            drawn = [torch.from_numpy(draws[row].uniform(lower, upper, some.x[0].numel())) for row in place.tolist()]
            x_adv = torch.stack(drawn).to(some.x).reshape(some.x.shape).clamp(lower, upper)
        _ask(some, x_adv, nearest, asked)
    found = nearest.found[rows.number].nonzero()[:, 0]
    some = rows.select(found)
    if len(some.x) == 0:
        return
    far, near, whole = torch.ones(len(found)), torch.zeros(len(found)), nearest.x_adv[some.number] - some.x
    far, near = far.to(some.x), near.to(some.x)
    for _ in range(_HALVINGS):
        middle = (far + near) / 2
        fooled = _ask(some, (some.x + column(middle, some.x) * whole).clamp(lower, upper), nearest, asked).fooled
        far, near = torch.where(fooled, middle, far), torch.where(fooled, near, middle)


class _Steps(NamedTuple):
    """Of each image: how long steps are, and of the last tries, how many there were and how many fooled."""

    sphere: Tensor
    source: Tensor
    sphere_tries: Tensor
    sphere_hits: Tensor
    source_tries: Tensor
    source_hits: Tensor


def _walk(
    rows: Rows, nearest: Nearest, asked: Tensor, draws: Sequence[np.random.Generator], queries: int,
    sphere_step: float, source_step: float, box: Box,
) -> None:  # fmt: skip
    lower, upper = box_bounds(box, rows.x.dtype)
    none = torch.zeros(len(rows.x), dtype=torch.float64, device=rows.x.device)
    steps = _Steps(none + sphere_step, none + source_step, none, none, none, none)
    for count in range(queries):
        with_sphere = count % _SPHERE_EVERY == 0
        left = (asked[rows.number] + 1 + with_sphere <= queries).nonzero()[:, 0]
        if len(left) == 0:
            return
        if len(left) < len(rows.x):
            rows, draws = rows.select(left), [draws[place] for place in left.tolist()]
            steps = _Steps(*(kept[left] for kept in steps))
        x, x_adv = rows.x.double(), nearest.x_adv[rows.number].double()
        on_sphere, nearer = _propose(x, x_adv, draws, steps)
        if with_sphere:
            fooled = _ask(rows, on_sphere.to(rows.x.dtype).clamp(lower, upper), nearest, asked).fooled
            steps = steps._replace(sphere_tries=steps.sphere_tries + 1, sphere_hits=steps.sphere_hits + fooled)
        fooled = _ask(rows, nearer.to(rows.x.dtype).clamp(lower, upper), nearest, asked).fooled
        steps = steps._replace(source_tries=steps.source_tries + 1, source_hits=steps.source_hits + fooled)
        sphere, tries, hits = _adapted(steps.sphere, steps.sphere_tries, steps.sphere_hits, 0.5, 0.2, _SPHERE_WINDOW)
        steps = steps._replace(sphere=sphere, sphere_tries=tries, sphere_hits=hits)
        source, tries, hits = _adapted(steps.source, steps.source_tries, steps.source_hits, 0.25, 0.1, _SOURCE_WINDOW)
        steps = steps._replace(source=source, source_tries=tries, source_hits=hits)


def _propose(x: Tensor, x_adv: Tensor, draws: Sequence[np.random.Generator], steps: _Steps) -> tuple[Tensor, Tensor]:
    """A random point on the sphere around x through x_adv, and one nearer to x from there."""
    way, size = (x - x_adv).flatten(1), x[0].numel()
    length = torch.linalg.vector_norm(way, dim=1, keepdim=True).clamp(min=1e-300)
    noise = torch.stack([torch.from_numpy(draw.standard_normal(size)) for draw in draws]).to(way.device)
    noise = noise - (noise * way).sum(1, keepdim=True) / length**2 * way
    noise = noise * (
        steps.sphere[:, None] * length / torch.linalg.vector_norm(noise, dim=1, keepdim=True).clamp(min=1e-300)
    )
    turned = (noise - way) / (steps.sphere[:, None] ** 2 + 1).sqrt()  # from x, of the same length
    on_sphere = x.flatten(1) + turned
    nearer = x.flatten(1) + turned * (1 - steps.source[:, None])
    return on_sphere.reshape(x.shape), nearer.reshape(x.shape)


def _adapted(
    step: Tensor, tries: Tensor, hits: Tensor, many: float, few: float, window: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Longer steps where many of a window's tries fooled, shorter ones where few did; and a new window."""
    full = tries >= window
    share = hits / tries.clamp(min=1)
    step = torch.where(full & (share > many), (step * _ADAPT).clamp(max=0.9), step)
    step = torch.where(full & (share < few), step / _ADAPT, step)
    return step, torch.where(full, 0.0, tries), torch.where(full, 0.0, hits)


def _ask(rows: Rows, x_adv: Images, nearest: Nearest, asked: Tensor) -> Seen:
    """One query, its outcome kept."""
    seen = look(rows, x_adv, "margin", gradient=False)
    keep(nearest, rows, x_adv, seen, "l2")
    asked[rows.number] += 1
    return seen
