"""Certified robustness: counts under noise, bounds, and the radius of every certificate that the noise allows."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from gambeson.bursts import BLOCK
from gambeson.data import Pairs, examples
from gambeson.engines import Over
from gambeson.evaluation import procedures
from gambeson.evaluation.pilot import pilot
from gambeson.evaluation.plan import Evaluation, inspect
from gambeson.evaluation.procedures import Begin, Road
from gambeson.evaluation.road import Radii, road
from gambeson.evaluation.smoothing import smooth, unserved
from gambeson.evaluation.work import Fields, Found, Work
from gambeson.inference import Form
from gambeson.keys import GENERATOR
from gambeson.smoothed.company import advance
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.rounding import rounding_distance
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
    radii: Radii | None = None,
    draws: int = 100_000,
    select_draws: int = 100,
    alpha: float = 0.001,
    price: float | None = None,
    rule: str | None = None,
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
    over everything that is claimed of it; full precision makes two claims, one-sided and two-sided radii, 1.5 alpha for
    both. For a grid, price: the draws that one more certified radius is worth (None:
    5e6); rule: "group_sequential" or "beta_mixture", see `gambeson.stats.plan` (None: the one that fits the form);
    stop_wrong: images whose selected class is wrong are not certified; table_error: instead of a price, the share of
    the images that may stay undecided in a cell of the table of certified accuracy, draws going where they change it
    most. form: the inference form that is sampled (None: float32, channels_last where the model runs so, with the
    threads that torch has). Splitting noise counts every noisy copy there is, which replaces draws, select_draws, alpha
    and radii: nothing is left to chance. Records hold counts, bounds and `radii` per certificate, in [0, 1] pixel
    units. Raises UserError for a model that is no fixed function of its input, for what has no meaning beside the rest,
    and for an (n, alpha) with which no outcome can be certified.
    """
    data = examples(data)
    asked = partial(
        road, data=data, smoothing=smoothing, radii=radii, draws=draws, select_draws=select_draws, alpha=alpha,
        price=price, rule=rule, stop_wrong=stop_wrong, table_error=table_error,
    )  # fmt: skip
    asked(unserved(model, data, noise=noise))  # refused before the model is looked at
    classes, flags = inspect(model, data)
    smoothed = smooth(model, data, noise=noise, seed=seed, form=form, classes=classes)
    found = asked(smoothed)
    settings = settings_of(smoothed, found, data.images[0].numel())
    tried = partial(pilot, smoothed, data, draws=found.settings["draws"], select_draws=found.settings["select_draws"])
    tried = partial(tried, plan=found.table or found.plan, stop_wrong=stop_wrong)
    judge, company = Judge(smoothed, found.begin), procedures.company(smoothed.base.form.batch)
    return Evaluation("certified", settings, data, 1, judge, flags, tried, found.table, company)


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
        "rounding_distance": rounding_distance(values, smoothed.noise.levels),
    }
