"""The smoothed classifier for production: batch in, batch out, the same function that is certified."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, frexp
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gambeson.errors import UserError
from gambeson.inference import Form
from gambeson.inference.served import Positions
from gambeson.machine import usable
from gambeson.models.guards import require
from gambeson.models.modes import device_of
from gambeson.noise import lattice, parse
from gambeson.records import Run
from gambeson.sampling import to_lattice
from gambeson.smoothed.budgets import certify_budget, leave_out, predict_budget, soft_budget
from gambeson.smoothed.company import together
from gambeson.smoothed.exact import exact
from gambeson.smoothed.fixed import fixed
from gambeson.smoothed.grid import grid
from gambeson.smoothed.grid_plan import plan_around
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.kept import certified_as, kept_model, trained_noise
from gambeson.smoothed.procedure import ABSTAIN
from gambeson.smoothed.rounding import lattice_distance
from gambeson.smoothed.serving import smooth
from gambeson.smoothed.soft_fixed import soft_fixed
from gambeson.stats import PRICE
from gambeson.types import Classifier


@dataclass(frozen=True, eq=False)
class Certification:
    """What `certify` found for N images: classes (-1: abstained), radii of the tight certificate, and the records.

    radius: no real-valued change of the image as it was given (in float32) that is smaller changes the class.
    radius_on_lattice: the same where the changed image lies exactly on the pixel lattice, as an 8-bit one does: it is
    larger, because nothing is lost to the adversary's rounding. An image that does not lie on the lattice itself, such
    as a resized one, or a picture of 255 levels where the lattice has 16, loses its distance from both.
    """

    predict: NDArray[np.int64]
    radius: NDArray[np.float64]
    radius_on_lattice: NDArray[np.float64]
    records: list[dict[str, Any]]


class SmoothedClassifier:
    """The class that `model` gives most often under noise, or an abstention (-1).

    model: images (N, C, H, W) in [0, 1] -> logits (N, classes), normalisation inside. noise: kind:scale, such as
    "gaussian:0.5", in pixel units. smoothing: hard, the most frequent class, or soft, that of the largest mean score
    (softmax). levels: of the pixel lattice that images are rounded to. form: the inference form (None: float32 with the
    threads that torch has). positions: "mixture" where rows of a call are known to differ in this form; whether they do
    is tried anyhow. seed: None draws a secret one. The first call takes a copy of the model, in evaluation mode: what
    becomes of the model later changes nothing. The form is tried on its images, whose shape all later ones must have.
    classes_: the classes that `predict` may give, int64 (classes,), as scikit-learn's classifiers have it.

    An image's noise is keyed by the seed and the image's content: the same image gets the same answer, company and
    batch sizes do not matter, and an attacker who does not know the seed cannot know the noise.

    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
    >>> classifier = SmoothedClassifier(model, "gaussian:0.25", 3)
    >>> classifier.predict(torch.rand(5, 1, 4, 4), draws=200).shape
    (5,)

    Paper: Cohen, Rosenfeld, Kolter 2019, PREDICT and CERTIFY.
    """

    def __init__(
        self,
        model: Classifier,
        noise: str,
        classes: int,
        *,
        smoothing: Literal["hard", "soft"] = "hard",
        levels: int = 255,
        form: Form | None = None,
        positions: Positions = "alike",
        seed: int | None = None,
    ) -> None:
        if classes < 2:
            raise UserError(f"classes is {classes}; a classifier has at least 2")
        if form is not None and not isinstance(form, Form):
            raise UserError(f"form is {form!r}; give a gambeson.inference.Form, or None for float32")
        _check(smoothing, noise)
        lattice(parse(noise), levels)  # refuses levels; its table is kept for the first call
        self.smoothing, self.positions = smoothing, positions
        self.model, self.noise, self.classes, self.levels, self.form = model, parse(noise).name, classes, levels, form
        self.classes_ = np.arange(classes)  # by scikit-learn's name
        self.seed = secrets.randbits(62) if seed is None else seed
        self._smoothed: Smoothed | None = None  # made for the first images: their shape is not known before
        self._shape: tuple[int, ...] = ()

    @classmethod
    def from_run(
        cls,
        path: str | Path,
        noise: str | None = None,
        *,
        smoothing: Literal["hard", "soft"] = "hard",
        model: nn.Module | None = None,
        device: str | None = None,
        seed: int | None = None,
    ) -> "SmoothedClassifier":
        """The classifier of a run folder, in the inference form in which it was certified last with this noise.

        noise: None: what it was trained with. model: for a run that does not hold its weights. device: auto, cpu or
        cuda; None: that of the form. Warns where it was never certified, or on another kind of machine: logits may then
        differ in their last bits. Raises UserError where the model is not the one that the run is about.
        """
        run = Run.open(path)
        name = parse(noise or trained_noise(run)).name
        _check(smoothing, name)
        form, positions = certified_as(run, name, smoothing, device) or (None, "alike")
        return cls(
            kept_model(run, model).to(form.device if form else usable(device or "auto")),
            name,
            len(run.header["classes"]),
            smoothing=smoothing,
            levels=run.header["levels"] or 255,
            form=form,
            positions=positions,
            seed=seed,
        )

    def predict(self, x: Any, draws: int = 1_000, alpha: float = 0.001) -> NDArray[np.int64]:
        """Classes int64 (N,), -1 where it abstains; each is another than the smoothed class with probability at most
        alpha.

        x: float (N, C, H, W) in [0, 1], tensor or array. draws: noisy copies of each image; splitting noise counts
        every copy there is, and never abstains. Soft: the class that 100 further draws pick, if its mean score is shown
        to be above 1/2.
        """
        if self.smoothing == "soft":
            return self.certify(x, draws=draws, alpha=alpha).predict
        images, smoothed = self._ready(x)
        if smoothed.noise.states is None:
            predict_budget(draws, alpha, prefix="")
        draws = int(draws)
        smoothed.fills_rows(draws, alpha)
        found = smoothed.predict_all(images, [_name(smoothed, image) for image in images], draws=draws, alpha=alpha)
        return np.array([answer for answer, _ in found], dtype=np.int64)

    def certify(
        self,
        x: Any,
        radii: Sequence[float] | None = None,
        *,
        draws: int = 100_000,
        select_draws: int = 100,
        alpha: float = 0.001,
        price: float | None = None,
        rule: str | None = None,
    ) -> Certification:
        """Classes and certified radii; arguments as `gambeson.certified`, radii None: full precision, price None: 5e6,
        rule None: the one that fits the form (`grid_plan`). Splitting noise needs no draws: its radii are exact.
        """
        images, smoothed = self._ready(x)
        own = {"price": price is not None, "rule": rule is not None}
        if smoothed.noise.states is None:
            certify_budget(draws, select_draws, alpha)
        draws, select_draws = int(draws), int(select_draws)
        smoothed.fills_rows(draws, alpha)
        if smoothed.noise.states is not None:
            leave_out({"radii": radii is not None, **own}, f"every noisy copy of {self.noise} is counted")
            work = [exact(smoothed, image) for image in images]
        elif self.smoothing == "soft":
            leave_out({"radii": radii is not None, **own}, "soft smoothing is certified with a fixed number of draws")
            soft_budget(draws, alpha)
            work = [
                soft_fixed(smoothed, image, select_draws=select_draws, draws=draws, alpha=alpha) for image in images
            ]
        elif radii is None:
            leave_out(own, "without radii every image gets the same number of draws")
            work = [fixed(smoothed, image, select_draws=select_draws, draws=draws, alpha=alpha) for image in images]
        else:
            price = PRICE if price is None else price
            asked: dict[str, Any] = {"draws": draws, "alpha": alpha, "price": price, "rule": rule}
            values, offs = images[0].numel(), [_off(smoothed, image) for image in images]
            # Each image by its own distance from the lattice: company changes nothing.
            plans = {off: plan_around(smoothed, off, values, radii, **asked) for off in set(offs)}
            work = [
                grid(smoothed, image, select_draws=select_draws, plan=plans[off])
                for image, off in zip(images, offs, strict=True)
            ]
        records = together(smoothed, work, images, [_name(smoothed, image) for image in images])
        tight = smoothed.certificates()[0].name
        answers = np.array([record["predict"] for record in records], dtype=np.int64)

        def radius(name: str) -> NDArray[np.float64]:
            return np.where(answers == ABSTAIN, 0.0, [record[name][tight] for record in records])

        return Certification(answers, radius("radii_real"), radius("radii"), records)

    def _ready(self, x: Any) -> tuple[Tensor, Smoothed]:
        images = torch.as_tensor(x if isinstance(x, Tensor) else np.asarray(x)).detach().cpu()
        if images.dim() != 4 or not len(images) or not images.is_floating_point():
            found = f"{images.dtype} {tuple(images.shape)}"
            raise UserError(f"x is {found}; give float images (N, C, H, W) in [0, 1], at least one")
        if not bool(images.isfinite().all()):
            broken = int((~images.flatten(1).isfinite().all(1)).nonzero()[0])
            raise UserError(f"x, image {broken}: a value is NaN or infinite; all must be in [0, 1]")
        if images.min() < 0 or images.max() > 1:
            raise UserError(
                f"x reaches from {images.min():.4g} to {images.max():.4g}; it must be in [0, 1]: divide whole levels "
                f"by the largest ({self.levels}), and let the model normalise"
            )
        if self._smoothed is None:
            require(self.model, images.float().to(device_of(self.model)), None, self.classes)
            made = smooth(
                self.model, images.float(), noise=self.noise, levels=self.levels, classes=self.classes, seed=self.seed,
                form=self.form,
            )  # fmt: skip
            if self.positions == "mixture":
                made = replace(made, base=replace(made.base, positions="mixture"))
            self._smoothed, self._shape = made, images.shape[1:]
        if images.shape[1:] != self._shape:
            raise UserError(
                f"images are {tuple(images.shape[1:])}, and the form was tried on {tuple(self._shape)}: "
                "give those, or make another SmoothedClassifier for each shape"
            )
        return images.float(), self._smoothed


def _check(smoothing: str, noise: str) -> None:
    if smoothing not in ("hard", "soft"):
        raise UserError(f"smoothing is {smoothing!r}; it must be hard (votes) or soft (mean scores)")
    if smoothing == "soft" and parse(noise).kind == "splitting":
        raise UserError(f"{noise} counts every noisy copy's vote; soft smoothing goes with noise that is drawn")


def _off(smoothed: Smoothed, image: Tensor) -> float:
    """How far an image lies off the lattice, rounded up to three binary digits: few plans serve all images."""
    mantissa, exponent = frexp(lattice_distance(image, smoothed.noise.levels)[smoothed.certificates()[0].norm])
    return ceil(8 * mantissa) / 8 * 2.0**exponent


def _name(smoothed: Smoothed, image: Tensor) -> str:
    """The image's content on the lattice: what its noise is keyed by."""
    cells = to_lattice(image, smoothed.noise.levels)
    return hashlib.sha256(f"{tuple(cells.shape)}".encode() + cells.numpy().tobytes()).hexdigest()
