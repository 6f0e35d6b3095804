"""Certified robustness: counts under noise, bounds, and the radius of every certificate that the noise allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from gambeson.data import Pairs, examples
from gambeson.engines import Over
from gambeson.errors import UserError
from gambeson.evaluation import procedures
from gambeson.evaluation.pilot import pilot
from gambeson.evaluation.plan import Evaluation, inspect
from gambeson.evaluation.procedures import Begin, Road, customary_radii, every_copy, full, of_a_grid, of_a_table, soft
from gambeson.evaluation.smoothing import smooth
from gambeson.evaluation.work import Fields, Found, Work
from gambeson.inference import Form
from gambeson.keys import GENERATOR
from gambeson.sampling import BLOCK
from gambeson.smoothed.budgets import certify_budget
from gambeson.smoothed.company import advance
from gambeson.smoothed.hard import Smoothed
from gambeson.types import Classifier


@dataclass(frozen=True, eq=False)
class Judge:
    """Certifies images, as far as a slice allows. Made of values only, so that it can be sent to other processes."""

    smoothed: Smoothed
    begin: Begin

    def __call__(self, work: Work, over: Over) -> Found:
        images, labels, indices = work.data.pixels(), work.data.labels.tolist(), work.data.indices.tolist()
        begun = [self.begin(*one) for one in zip(images, labels, work.until, strict=True)]
        done, answers = advance(self.smoothed, begun, images, indices, work.answers, over)
        found: list[Fields | None] = [None] * len(labels)
        for row, fields in done.items():
            found[row] = {**fields, "correct": fields["predict"] == labels[row]}
        return found, answers


def certified(
    model: Classifier,
    data: Pairs,
    *,
    noise: str = "gaussian:0.5",
    smoothing: str = "hard",
    radii: Sequence[float] | Literal["customary"] | None = None,
    draws: int = 100_000,
    select_draws: int = 100,
    alpha: float = 0.001,
    price: float = 1e7,
    rule: str = "group_sequential",
    stop_wrong: bool = False,
    table_error: float | None = None,
    seed: int = 0,
    form: Form | None = None,
) -> Evaluation:
    """Certify the smoothed `model` on every image, on the pixel lattice.

    noise: kind:scale in [0, 1] pixel units, `gaussian:sigma`, `laplace:b`, `uniform:half-width` or
    `splitting:half-width`. smoothing: "hard", the class with the most votes, or "soft", the class with the largest mean
    score (softmax), which is another classifier, for a fixed number of draws only. radii: None gives every image the
    same number of draws and a radius in full precision (Cohen et al. 2019, CERTIFY); a grid of radii, in [0, 1] pixel
    units, finds out which of them each image certifies with as few draws as that takes; "customary" is the grid of the
    data set's literature, without what so many draws cannot certify. draws, select_draws: noisy copies that bound (for
    a grid: at most) and that pick the class, n and n0. alpha: the failure probability of each image's certificates,
    over everything that is claimed of it. For a grid, price: the draws that one more certified radius is worth; rule:
    "group_sequential" or "beta_mixture", see `gambeson.stats.plan`; stop_wrong: images whose selected class is wrong
    are not certified; table_error: instead of a price, the share of the images that may stay undecided in a cell of the
    table of certified accuracy, draws going where they change it most. form: the inference form that is sampled (None:
    float32, channels_last where the model runs so, with the threads that torch has). Splitting noise counts every noisy
    copy there is, which replaces draws, select_draws, alpha and radii: nothing is left to chance. Records hold counts,
    bounds and `radii` per certificate, in [0, 1] pixel units. Raises UserError for a model that is no fixed function of
    its input, and for an (n, alpha) with which no outcome can be certified.
    """
    if smoothing not in ("hard", "soft"):
        raise UserError(f"smoothing is {smoothing!r}; it must be hard (votes) or soft (mean scores)")
    if table_error is not None and radii is None:
        raise UserError("a table error is about a grid of radii: give radii")
    if smoothing == "soft" and radii is not None:
        raise UserError("soft smoothing is certified with a fixed number of draws: leave the grid of radii out")
    data = examples(data)
    certify_budget(draws, select_draws, alpha)
    classes, flags = inspect(model, data)
    smoothed = smooth(model, data, noise=noise, seed=seed, form=form, classes=classes)
    smoothed.fills_rows(draws=draws)
    values, same = data.images[0].numel(), {"select_draws": select_draws, "draws": draws, "alpha": alpha}
    road: Road
    if smoothed.noise.states is not None:
        own = {"radii": radii not in (None, "customary"), "soft smoothing": smoothing == "soft"}
        own |= {"stop_wrong": stop_wrong, "table_error": table_error is not None}
        if useless := ", ".join(name for name, given in own.items() if given):
            raise UserError(f"every noisy copy of {noise} is counted, and its radii are exact: leave {useless} out")
        road = every_copy(smoothed)
    elif smoothing == "soft":
        road = soft(smoothed, values, same)
    elif radii is None:
        road = full(smoothed, values, same)
    else:
        if isinstance(radii, str):
            if radii != "customary":
                raise UserError(f"radii is {radii!r}; give numbers, 'customary', or None for full precision")
            radii = customary_radii(smoothed, data, same, rule)
        if table_error is None:
            road = of_a_grid(smoothed, values, same, radii, price=price, rule=rule, stop_wrong=stop_wrong)
        else:
            road = of_a_table(smoothed, values, same, radii, images=len(data), error=table_error, rule=rule)
    settings = settings_of(smoothed, road, values)
    tried = partial(pilot, smoothed, data, draws=road.settings["draws"], select_draws=road.settings["select_draws"])
    tried = partial(tried, plan=road.table or road.plan, stop_wrong=stop_wrong)
    judge, company = Judge(smoothed, road.begin), procedures.COMPANY
    return Evaluation("certified", settings, data, 1, judge, flags, tried, road.table, company)


def settings_of(smoothed: Smoothed, road: Road, values: int) -> dict[str, Any]:
    """All that a certified evaluation says of itself; values: numbers in an image."""
    return {
        "noise": smoothed.noise.noise.name,
        **road.settings,
        "seed": smoothed.seed,
        "block": BLOCK,
        "generator": GENERATOR,
        "form": smoothed.base.form.settings(),
        "positions": smoothed.base.positions,
        "tau": smoothed.tau(values),
        "rounding_distance": smoothed.rounding_distance(values),
    }
