"""What an evaluation found, image by image."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gambeson.schema.strict import Positive, Probability, Strict


class Record(Strict):
    evaluation: str
    index: int
    hash: str
    label: int
    seconds: float


class CleanRecord(Record):
    predict: int
    correct: bool
    confidence: float


class AttackedRecord(Record):
    predict_clean: int
    predict: int
    correct: bool
    success: bool
    loss: float | None
    distance: float
    distances: dict[Literal["l1", "l2", "linf"], float] | None = None  # in every norm; older records lack them
    target: int | None
    predict_rounded: int | None = None  # of the base model, once the point is saved as an 8-bit image
    broken_by: str | None = None  # of a suite: the member whose image this is, null where all of them failed
    reason: str | None = None  # of an attack for the smallest perturbation: why there is none


class DiagnosedRecord(Record):
    """Null: what needs a gradient, of a model that has none; of `after_...` and `black_box`: the image held out."""

    predict: int  # on the clean image
    correct: bool
    one_step: bool | None = None
    after_steps: Annotated[int, Field(ge=0)] | None = None
    after_restarts: Annotated[int, Field(ge=0)] | None = None
    by_eps: list[bool] | None = None
    black_box: str | None
    random_noise: bool
    unavailable: bool
    unstable: Probability
    silent: bool | None = None
    incomplete: Probability | None = None
    unlimited: bool | None = None
    fooled: bool | None = None
    fooled_again: bool | None = None
    fooled_rounded: bool | None = None
    gamma: float | None = None
    loss: float | None = None


class CertifiedRecord(Record):
    predict: int
    correct: bool
    reason: str | None
    selected: int
    select_counts: list[int]
    counts: list[int]
    nonfinite: int
    p_lower: Probability
    p_lower_two_sided: Probability | None
    p_upper_two_sided: Probability | None
    radii: dict[str, float]
    radii_real: dict[str, float]
    radius_kind: Literal["full", "grid", "exact"] = "full"
    draws: int | None = None  # a grid's: how many this image took; else those of the settings
    looks: list[tuple[int, int]] | None = None  # a grid's: (draws, hits) at every look
    stopped: str | None = None
    undecided: list[float] | None = None  # of a table error: radii neither certified nor ruled out
    scores: list[int] | None = None  # of soft smoothing: draws per bin of the selected class's scores


class Counted(Strict):
    """Class counts of the first `draws` draws that were asked of an image's `stage` from draw `first` on, and the
    `seconds` that the image took by then.
    """

    index: int
    stage: str
    first: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0)]
    draws: Positive
    counts: list[Annotated[int, Field(ge=0)]]
    scores: list[Annotated[int, Field(ge=0)]] | None = None  # of soft smoothing: counts of a class's scores, in bins

    @model_validator(mode="after")
    def _add_up(self) -> "Counted":
        if sum(self.counts) > self.draws:
            raise ValueError(f"the counts add up to {sum(self.counts)}, more than {self.draws} draws")
        return self


class Slice(Strict):
    """One line of partial.jsonl: what a slice of work brought."""

    evaluation: str
    images: list[Counted]
