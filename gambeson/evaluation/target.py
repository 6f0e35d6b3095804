"""What is attacked: a model, or its smoothed classifier, which attacks see under a few draws and PREDICT judges."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.evaluation.smoothing import smooth
from gambeson.inference import Form
from gambeson.keys import generator
from gambeson.noise import noisy
from gambeson.smoothed import redrawn, soft, stein
from gambeson.smoothed.budgets import predict_budget
from gambeson.smoothed.hard import Smoothed
from gambeson.types import Classifier

GRADIENTS = ("autograd", "stein")


@dataclass(frozen=True, eq=False)
class Target:
    """smoothed None: the model itself; all that follows is of a smoothed classifier. draws, order, redraw, gradient: of
    its soft form, which attacks see (`seen`). predict_draws, predict_alpha: of the vote (`predict`).
    """

    model: Classifier
    smoothed: Smoothed | None = None
    draws: int = 16
    predict_draws: int = 1_000
    predict_alpha: float = 0.001
    order: str = "log_of_mean"
    redraw: bool = False
    gradient: str = "autograd"

    def seen(self, indices: Sequence[int], x: Tensor) -> Classifier:
        """images (N, C, H, W) -> logits, or log-probabilities under draws by a key for each image, in the law that is
        certified.
        """
        if self.smoothed is None:
            return self.model
        law, lattice = self.smoothed.noise.noise, self.smoothed.noise
        make: Callable[[Tensor], Classifier] = (
            partial(stein, self.model, sigma=law.scale)
            if self.gradient == "stein"
            else partial(soft, self.model, noisy=partial(noisy, law), order=self.order)  # type: ignore[arg-type]
        )
        generators = [generator(self.smoothed.seed, "attack", law.name, index) for index in indices]
        shape = (self.draws, *x.shape[1:])

        def draw(rows: Tensor) -> Tensor:
            drawn = [torch.from_numpy(lattice.sample(shape, generators[row])) for row in rows.tolist()]
            return torch.stack(drawn).to(x) / lattice.levels

        return redrawn(make, draw, len(x)) if self.redraw else make(draw(torch.arange(len(x))))

    def predict(self, images: Tensor, indices: Sequence[int]) -> list[int]:
        """The class of each image, -1 where the vote abstains."""
        if self.smoothed is None:
            with torch.no_grad():
                return [int(label) for label in self.model(images).argmax(1)]
        found = self.smoothed.predict_all(
            images.cpu(), list(indices), draws=self.predict_draws, alpha=self.predict_alpha
        )
        return [label for label, _ in found]

    def settings(self) -> dict[str, Any]:
        """Among those of an evaluation; all but the first are None of a base model."""
        if self.smoothed is None:
            names = ("noise", "attack_draws", "predict_draws", "predict_alpha", "form")
            return {"target": "base", **dict.fromkeys(names)}
        return {
            "target": "smoothed",
            "noise": self.smoothed.noise.noise.name,
            "attack_draws": self.draws,
            "predict_draws": self.predict_draws,
            "predict_alpha": self.predict_alpha,
            "form": self.smoothed.base.form.settings(),
        }


def target_of(
    model: Classifier,
    data: Dataset,
    *,
    noise: str | None,
    classes: int,
    seed: int,
    form: Form | None,
    draws: int,
    predict_draws: int,
    predict_alpha: float,
    order: str = "log_of_mean",
    redraw: bool = False,
    gradient: str = "autograd",
) -> Target:
    """The model, or with `noise` its smoothed classifier; what has no meaning together is refused."""
    if noise is None:
        return Target(model)
    predict_budget(predict_draws, predict_alpha)
    smoothed = smooth(model, data, noise=noise, seed=seed, form=form, classes=classes)
    if draws < 1:
        raise UserError(f"attack_draws is {draws}; it must be at least 1")
    if gradient not in GRADIENTS:
        raise UserError(f"gradient is {gradient!r}; it must be one of {', '.join(GRADIENTS)}")
    if gradient == "stein" and (smoothed.noise.noise.kind != "gaussian" or order != "log_of_mean" or draws < 2):
        raise UserError("gradient is stein: that is for Gaussian noise, at least 2 draws and order log_of_mean")
    smoothed.fills_rows(predict_draws, predict_alpha, "predict_")
    if smoothed.noise.states is not None:  # every noisy copy is counted
        predict_draws, predict_alpha = smoothed.noise.states, 0.0
    return Target(model, smoothed, draws, predict_draws, predict_alpha, order, redraw, gradient)
