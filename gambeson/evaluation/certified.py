"""Certified robustness: counts under noise, bounds, and the radius of every certificate that the noise allows."""

from typing import Any

from torch import Tensor

from gambeson.data import Pairs, examples
from gambeson.evaluation.budgets import certify_budget
from gambeson.evaluation.plan import Evaluation, inspect
from gambeson.evaluation.smoothing import smooth
from gambeson.inference import Form
from gambeson.sampling import BLOCK
from gambeson.types import Classifier


def certified(
    model: Classifier,
    data: Pairs,
    *,
    noise: str = "gaussian:0.5",
    draws: int = 100_000,
    select_draws: int = 100,
    alpha: float = 0.001,
    seed: int = 0,
    form: Form | None = None,
) -> Evaluation:
    """Certify the smoothed `model` on every image (Cohen et al. 2019, CERTIFY, on the pixel lattice).

    noise: kind:scale in [0, 1] pixel units, `gaussian:sigma`, `laplace:b` or `uniform:half-width`. draws, select_draws:
    noisy copies that bound and that pick the class, n and n0. alpha: the failure probability of each image's
    certificate. form: the inference form that is sampled (None: float32, channels_last where the model runs so, with
    the threads that torch has). Records hold counts, bounds and `radii` per certificate, in [0, 1] pixel units. Raises
    UserError for a model that is no fixed function of its input, and for an (n, alpha) with which no outcome can be
    certified.
    """
    data = examples(data)
    certify_budget(draws, select_draws, alpha)
    classes, flags = inspect(model, data)
    smoothed = smooth(model, data, noise=noise, seed=seed, form=form, classes=classes)
    form, values = smoothed.base.form, data.images[0].numel()
    settings = {
        "noise": smoothed.noise.noise.name,
        "select_draws": select_draws,
        "draws": draws,
        "alpha": alpha,
        "budget": "fixed",
        "seed": seed,
        "block": BLOCK,
        "form": form.settings(),
        "tau": smoothed.tau(values),
        "max_radius": smoothed.largest_radii(draws, alpha, values),
        "rounding_distance": smoothed.rounding_distance(values),
    }

    def judge(rows: Tensor) -> list[dict[str, Any]]:
        (row,) = rows.tolist()
        record = smoothed.certify(
            data.pixels([row])[0],
            index=int(data.indices[row]),
            select_draws=select_draws,
            draws=draws,
            alpha=alpha,
        )
        return [{**record, "correct": record["predict"] == int(data.labels[row])}]

    return Evaluation("certified", settings, data, 1, judge, flags)
