"""Certified robustness: counts under noise, bounds, and the radius of every certificate that the noise allows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor

from gambeson.certificates.customary import PUBLISHED, customary
from gambeson.data import Dataset, Pairs, examples
from gambeson.engines import Over
from gambeson.errors import UserError
from gambeson.evaluation.budgets import certify_budget
from gambeson.evaluation.pilot import pilot
from gambeson.evaluation.plan import Evaluation, inspect
from gambeson.evaluation.smoothing import smooth
from gambeson.evaluation.work import Found, Work
from gambeson.inference import Form
from gambeson.sampling import BLOCK
from gambeson.smoothed.company import advance
from gambeson.smoothed.exact import exact, largest_exact_radii
from gambeson.smoothed.fixed import fixed
from gambeson.smoothed.grid import grid, thresholds
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.procedure import Procedure
from gambeson.stats import Plan, attainable, plan
from gambeson.types import Classifier

COMPANY = 32  # images whose draws share calls, where each needs few


@dataclass(frozen=True, eq=False)
class Judge:
    """Certifies images, as far as a slice allows. Made of values only, so that it can be sent to other processes."""

    smoothed: Smoothed
    begin: Callable[[Tensor, int], Procedure]  # pixels, label

    def __call__(self, work: Work, over: Over) -> Found:
        images, labels, indices = work.data.pixels(), work.data.labels.tolist(), work.data.indices.tolist()
        procedures = [self.begin(image, label) for image, label in zip(images, labels, strict=True)]
        done, answers = advance(self.smoothed, procedures, images, indices, work.answers, over)
        if len(done) < len(labels):
            return None, answers
        return [{**done[row], "correct": done[row]["predict"] == label} for row, label in enumerate(labels)], answers


def _exact(smoothed: Smoothed, pixels: Tensor, label: int) -> Procedure:
    return exact(smoothed, pixels)


def _fixed(smoothed: Smoothed, budget: dict[str, Any], pixels: Tensor, label: int) -> Procedure:
    return fixed(smoothed, pixels, **budget)


def _grid(smoothed: Smoothed, select_draws: int, made: Plan, stop_wrong: bool, pixels: Tensor, label: int) -> Procedure:
    return grid(smoothed, pixels, select_draws=select_draws, plan=made, label=label if stop_wrong else None)


def certified(
    model: Classifier,
    data: Pairs,
    *,
    noise: str = "gaussian:0.5",
    radii: Sequence[float] | Literal["customary"] | None = None,
    draws: int = 100_000,
    select_draws: int = 100,
    alpha: float = 0.001,
    price: float = 1e7,
    rule: str = "group_sequential",
    stop_wrong: bool = False,
    seed: int = 0,
    form: Form | None = None,
) -> Evaluation:
    """Certify the smoothed `model` on every image, on the pixel lattice.

    noise: kind:scale in [0, 1] pixel units, `gaussian:sigma`, `laplace:b`, `uniform:half-width` or
    `splitting:half-width`. radii: None gives
    every image the same number of draws and a radius in full precision (Cohen et al. 2019, CERTIFY); a grid of radii,
    in [0, 1] pixel units, finds out which of them each image certifies with as few draws as that takes; "customary" is
    the grid of the data set's literature, without what so many draws cannot certify. draws, select_draws: noisy copies
    that bound (for a grid: at most) and that pick the class, n and n0. alpha: the failure probability of each image's
    certificates, over everything that is claimed of it. For a grid, price: the draws that one more certified radius is
    worth; rule: "group_sequential" or "beta_mixture", see `gambeson.stats.plan`; stop_wrong: images whose selected
    class is wrong are not certified. form: the inference form that is sampled (None: float32, channels_last where the
    model runs so, with the threads that torch has). Splitting noise counts every noisy copy there is, which replaces
    draws, select_draws, alpha and radii: nothing is left to chance. Records hold counts, bounds and `radii` per
    certificate, in [0, 1] pixel units. Raises UserError for a model that is no fixed function of its input, and for an
    (n, alpha) with which no outcome can be certified.
    """
    data = examples(data)
    certify_budget(draws, select_draws, alpha)
    classes, flags = inspect(model, data)
    smoothed = smooth(model, data, noise=noise, seed=seed, form=form, classes=classes)
    smoothed.fills_rows(draws=draws)
    values = data.images[0].numel()
    budget: Any
    begin: Callable[[Tensor, int], Procedure]
    made: Plan | None = None
    if smoothed.noise.states is not None:
        if radii not in (None, "customary"):
            raise UserError(f"the radii of {noise} are exact at no further cost: leave radii out")
        budget, select_draws, draws, alpha = "exact", 0, smoothed.noise.states, 0.0
        largest, begin = largest_exact_radii(smoothed), partial(_exact, smoothed)
    elif radii is None:
        budget, largest = "fixed", smoothed.largest_radii(draws, alpha, values)
        begin = partial(_fixed, smoothed, {"select_draws": select_draws, "draws": draws, "alpha": alpha})
    else:
        if isinstance(radii, str):
            radii = _customary(radii, smoothed, data, alpha, draws, rule)
        made = plan(thresholds(smoothed, radii, values), alpha=alpha, cap=draws, price=price, rule=rule)
        _reachable(radii, made)
        budget = {
            "radii": [float(radius) for radius in radii],
            "looks": list(made.looks),
            "rule": rule,
            "price": price,
            "stop_wrong": stop_wrong,
        }
        largest = smoothed.one_sided_radii(smoothed.less_tau(made.thresholds[-1], values))
        begin = partial(_grid, smoothed, select_draws, made, stop_wrong)
    settings = {
        "noise": smoothed.noise.noise.name,
        "select_draws": select_draws,
        "draws": draws,
        "alpha": alpha,
        "budget": budget,
        "seed": seed,
        "block": BLOCK,
        "form": smoothed.base.form.settings(),
        "positions": smoothed.base.positions,
        "tau": smoothed.tau(values),
        "max_radius": largest,
        "rounding_distance": smoothed.rounding_distance(values),
    }
    batch = 1 if budget == "fixed" else COMPANY
    tried = partial(
        pilot, smoothed, data, select_draws=select_draws, draws=draws, plan=made, stop_wrong=stop_wrong
    )  # fmt: skip
    return Evaluation("certified", settings, data, batch, Judge(smoothed, begin), flags, tried)


def _customary(word: str, smoothed: Smoothed, data: Dataset, alpha: float, draws: int, rule: str) -> list[float]:
    """The data set's customary radii, as far as unanimous draws certify them."""
    if word != "customary":
        raise UserError(f"radii is {word!r}; give numbers, 'customary', or None for full precision")
    if data.name not in PUBLISHED:
        raise UserError(f"{data.name} has no customary radii ({', '.join(PUBLISHED)} have): give radii")
    tight, values = smoothed.certificates()[0], data.images[0].numel()
    largest = smoothed.largest_radii(draws, alpha, values)
    near = [r for r in customary(data.name, tight.norm, largest[tight.name]) if r <= largest[tight.name]]
    least = thresholds(smoothed, near, values)
    found = [r for r, p in zip(near, least, strict=True) if attainable(p, alpha=alpha, cap=draws, rule=rule)]
    if not found:
        raise UserError(f"draws is {draws} at alpha {alpha:g}: even if all agreed, {rule} would certify no radius")
    return found


def _reachable(radii: Sequence[float], made: Plan) -> None:
    """Refuse a radius that not even unanimous draws can certify: the table would say 0 for want of draws."""
    for radius, limits in zip(radii, made.certifies, strict=True):
        if limits.max() < 0:
            raise UserError(
                f"radius {radius:g} is out of reach of {made.looks[-1]} draws at alpha {made.alpha:g}, even if all "
                "agree: leave it out, or give more draws"
            )
