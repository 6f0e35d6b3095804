"""Certified robustness: counts under noise, bounds, and the radius of every certificate that the noise allows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from gambeson.data import Dataset, Pairs, examples
from gambeson.errors import UserError
from gambeson.evaluation.budgets import certify_budget, soft_budget
from gambeson.evaluation.plan import Evaluation, inspect
from gambeson.evaluation.smoothing import smooth
from gambeson.inference import Form
from gambeson.sampling import BLOCK
from gambeson.smoothed.company import together
from gambeson.smoothed.fixed import fixed
from gambeson.smoothed.grid import grid, thresholds
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.procedure import Procedure
from gambeson.smoothed.soft_fixed import largest_soft_radii, soft_fixed
from gambeson.stats import Plan, plan, score_bins
from gambeson.types import Classifier

COMPANY = 32  # images whose draws share calls, where each needs few


@dataclass(frozen=True, eq=False)
class Judge:
    """Certifies a part of the data. Made of values only, so that it can be sent to other processes."""

    smoothed: Smoothed
    begin: Callable[[Tensor, int], Procedure]  # pixels, label

    def __call__(self, part: Dataset) -> list[dict[str, Any]]:
        images, labels = part.pixels(), part.labels.tolist()
        procedures = [self.begin(image, label) for image, label in zip(images, labels, strict=True)]
        found = together(self.smoothed, procedures, images, part.indices.tolist())
        return [{**fields, "correct": fields["predict"] == label} for fields, label in zip(found, labels, strict=True)]


def _fixed(
    certify: Callable[..., Procedure], smoothed: Smoothed, budget: dict[str, Any], pixels: Tensor, label: int
) -> Procedure:
    return certify(smoothed, pixels, **budget)


def _grid(smoothed: Smoothed, select_draws: int, made: Plan, stop_wrong: bool, pixels: Tensor, label: int) -> Procedure:
    return grid(smoothed, pixels, select_draws=select_draws, plan=made, label=label if stop_wrong else None)


def certified(
    model: Classifier,
    data: Pairs,
    *,
    noise: str = "gaussian:0.5",
    smoothing: str = "hard",
    radii: Sequence[float] | None = None,
    draws: int = 100_000,
    select_draws: int = 100,
    alpha: float = 0.001,
    price: float = 1e7,
    stop_wrong: bool = False,
    seed: int = 0,
    form: Form | None = None,
) -> Evaluation:
    """Certify the smoothed `model` on every image, on the pixel lattice.

    noise: kind:scale in [0, 1] pixel units, `gaussian:sigma`, `laplace:b` or `uniform:half-width`. smoothing: "hard",
    the class with the most votes, or "soft", the class with the largest mean score (softmax), which is another
    classifier, for a fixed number of draws only. radii: None gives
    every image the same number of draws and a radius in full precision (Cohen et al. 2019, CERTIFY); a grid of radii,
    in [0, 1] pixel units, finds out which of them each image certifies with as few draws as that takes. draws,
    select_draws: noisy copies that bound (for a grid: at most) and that pick the class, n and n0. alpha: the failure
    probability of each image's certificates, over everything that is claimed of it. For a grid, price: the draws that
    one more certified radius is worth; stop_wrong: images whose selected class is wrong are not certified. form: the
    inference form that is sampled (None: float32, channels_last where the model runs so, with the threads that torch
    has). Records hold counts, bounds and `radii` per certificate, in [0, 1] pixel units. Raises UserError for a model
    that is no fixed function of its input, and for an (n, alpha) with which no outcome can be certified.
    """
    if smoothing not in ("hard", "soft"):
        raise UserError(f"smoothing is {smoothing!r}; it must be hard (votes) or soft (mean scores)")
    if smoothing == "soft" and radii is not None:
        raise UserError("soft smoothing is certified with a fixed number of draws: leave the grid of radii out")
    data = examples(data)
    certify_budget(draws, select_draws, alpha)
    if smoothing == "soft":
        soft_budget(draws, alpha)
    classes, flags = inspect(model, data)
    smoothed = smooth(model, data, noise=noise, seed=seed, form=form, classes=classes)
    values = data.images[0].numel()
    budget: Any = "fixed"
    largest = smoothed.largest_radii(draws, alpha, values)
    same_draws = {"select_draws": select_draws, "draws": draws, "alpha": alpha}
    begin = partial(_fixed, fixed, smoothed, same_draws)
    if smoothing == "soft":
        largest = largest_soft_radii(smoothed, draws, alpha, values)
        begin = partial(_fixed, soft_fixed, smoothed, same_draws)
    if radii is not None:
        made = plan(thresholds(smoothed, radii, values), alpha=alpha, cap=draws, price=price)
        _reachable(radii, made)
        budget = {
            "radii": [float(radius) for radius in radii],
            "looks": list(made.looks),
            "rule": "group_sequential",
            "price": price,
            "stop_wrong": stop_wrong,
        }
        largest = smoothed.one_sided_radii(smoothed.less_tau(made.thresholds[-1], values))
        begin = partial(_grid, smoothed, select_draws, made, stop_wrong)
    settings: dict[str, Any] = {
        "noise": smoothed.noise.noise.name,
        "select_draws": select_draws,
        "draws": draws,
        "alpha": alpha,
        "budget": budget,
        "seed": seed,
        "block": BLOCK,
        "form": smoothed.base.form.settings(),
        "tau": smoothed.tau(values),
        "max_radius": largest,
        "rounding_distance": smoothed.rounding_distance(values),
    }
    if smoothing == "soft":
        settings |= {"smoothing": "soft", "score_bins": {"octaves": score_bins.OCTAVES, "steps": score_bins.STEPS}}
    batch = 1 if radii is None else COMPANY
    return Evaluation("certified", settings, data, batch, Judge(smoothed, begin), flags)


def _reachable(radii: Sequence[float], made: Plan) -> None:
    """Refuse a radius that not even unanimous draws can certify: the table would say 0 for want of draws."""
    for radius, limits in zip(radii, made.certifies, strict=True):
        if limits.max() < 0:
            raise UserError(
                f"radius {radius:g} is out of reach of {made.looks[-1]} draws at alpha {made.alpha:g}, even if all "
                "agree: leave it out, or give more draws"
            )
