"""What a report is made of: per-image results of one evaluation, as arrays, with the settings that produced them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Images:
    """Which images were judged, and how each was answered; `predict` is -1 where the classifier abstained."""

    index: Array  # int64 (N,), the example's stable index in its source
    label: Array  # int64 (N,)
    predict: Array  # int64 (N,)
    correct: Array  # bool (N,)
    hash: tuple[str, ...] | None  # None: a log in the field's format holds no hashes
    planned: int  # how many images the evaluation was asked for; more than N when it is unfinished
    rule: str | None  # which images: "every 20th test image"

    @property
    def total(self) -> int:
        return len(self.index)

    @property
    def right(self) -> int:
        return int(self.correct.sum())

    @property
    def abstained(self) -> int:
        return int((self.predict == -1).sum())

    @property
    def wrong(self) -> int:
        return self.total - self.right - self.abstained


@dataclass(frozen=True, eq=False)
class Certified:
    """The radii that one certificate gives one run under one noise."""

    images: Images
    evaluation: str
    certificate: str | None  # "gaussian_l2", "renyi_l2_two_sided"; None: a log does not say
    norm: str
    noise: str | None  # "gaussian:0.5"; "soft gaussian:0.5" is another classifier
    alpha: float | None
    select_draws: int | None
    draws: float | None  # an image; for a grid the mean
    radius: Array  # float64 (N,), against adversaries on the pixel lattice
    radius_real: Array | None  # float64 (N,), against real-valued adversaries
    max_radius: float | None
    seconds: Array  # float64 (N,)
    rounding_distance: float | None = None  # in `norm`: how far rounding to the lattice moves an image
    levels: int | None = None  # of the images; None: they are floats, or a log does not say
    grid: tuple[float, ...] | None = None  # the radii that were decided; None: radii in full precision
    table_error: float | None = None  # the share of the images that might stay undecided in a cell, where one was asked
    undecided: Array | None = None  # bool (N, grid) of such a table: neither certified nor ruled out


@dataclass(frozen=True, eq=False)
class Attacked:
    """One attack at one eps on one run."""

    images: Images  # answers on the adversarial images
    evaluation: str
    settings: dict[str, Any]
    predict_clean: Array  # int64 (N,), answers on the clean images, by the same prediction rule
    success: Array  # bool (N,)
    distance: Array  # float64 (N,)
    gallery: Path | None  # the .safetensors file that holds some of the images
    seconds: Array
    broken_by: tuple[str | None, ...] = ()  # of a suite: whose each image is, "clean", or None where it held out
    rounded: Array | None = None  # int64 (N,), answers once the points are saved as 8-bit images; of base models

    @property
    def fooled(self) -> Array:
        """By the rule that judges; an abstention is not enough. Of a smoothed classifier that is the vote, whatever the
        attack saw; of a base model the attack too: another class is not all that high_confidence wants.
        """
        if self.settings["targeted"] is not None:
            return self.success
        wrong = (self.images.predict != self.images.label) & (self.images.predict != -1)
        return wrong & self.success if self.settings["target"] == "base" else wrong


@dataclass(frozen=True, eq=False)
class Diagnosed:
    """Why attacks fail on one run, in one ball; NaN where an image held out. Without a gradient all is NaN."""

    images: Images  # answers on the clean images
    evaluation: str
    settings: dict[str, Any]
    after_steps: Array  # float64 (N,), how many steps it took
    after_restarts: Array  # float64 (N,), how many random starts
    fell: Array  # bool (N,), to anything that was tried in the ball
    gradient: bool  # whether the model has one
    gamma: Array  # float64 (N,), how far the loss is from linear in the ball
    loss: Array  # float64 (N,), at the image


@dataclass(frozen=True, eq=False)
class Source:
    """A run or a log: everything that the report knows about one model."""

    name: str
    path: Path
    kind: str  # "run" | "log"
    header: dict[str, Any] = field(default_factory=dict)
    clean: tuple[Images, ...] = ()
    certified: tuple[Certified, ...] = ()
    attacked: tuple[Attacked, ...] = ()
    diagnosed: tuple[Diagnosed, ...] = ()
    checks: tuple[dict[str, Any], ...] = ()
    cost: dict[str, Any] | None = None
    commands: tuple[str, ...] = ()

    @property
    def method(self) -> str | None:
        return self.header.get("method")

    @property
    def dataset(self) -> str | None:
        return self.header.get("dataset")
