"""What was asked of an evaluation."""

from typing import Annotated, Literal

from pydantic import Field

from gambeson.schema.strict import Positive, Probability, Strict


class Form(Strict):
    """The inference form that was sampled: a certificate is about exactly that function."""

    dtype: Literal["float32", "bfloat16"]
    memory: Literal["contiguous", "channels_last"]
    batch: Positive
    threads: Positive
    device: str
    folded: bool = False
    compiled: bool = False


class CleanSettings(Strict):
    batch: Positive


class AttackedSettings(Strict):
    """Everything that reviewers asked of an attack's number; null only where it cannot apply."""

    attack: str
    target: Literal["base", "smoothed"]
    norm: Literal["linf", "l2", "l1"]
    eps: Annotated[float, Field(ge=0)]
    steps: Positive
    step_size: float
    step_rule: str
    loss: str
    restarts: Positive
    random_start: bool
    early_stop: bool
    projection: str
    box: tuple[float, float]
    targeted: Literal["given", "random", "least_likely"] | None
    targets_hash: str | None
    step_rule_settings: dict[str, float]
    batch: Positive
    noise: str | None
    attack_draws: Positive | None
    redraw: bool | None
    predict_draws: Positive | None
    predict_alpha: Probability | None
    seed: int
    form: Form | None


class Grid(Strict):
    """An adaptive budget: which radii are decided, when it is looked at the counts, and what draws are worth."""

    radii: list[float]
    looks: list[Positive]
    rule: Literal["group_sequential", "beta_mixture"]
    price: Annotated[float, Field(gt=0)] | None
    stop_wrong: bool
    table_error: Annotated[float, Field(ge=0, lt=1)] | None = None  # a budget for all images together


class ScoreBins(Strict):
    """The grid that scores were rounded down to: largest misses 2^-k (1 + j/steps), k up to `octaves`."""

    octaves: Positive
    steps: Positive


class CertifiedSettings(Strict):
    noise: str
    select_draws: Annotated[int, Field(ge=0)]
    draws: Positive
    alpha: Probability
    budget: Literal["fixed", "exact"] | Grid  # exact: every noisy copy is counted, alpha and select_draws are 0
    seed: int
    block: Positive
    generator: str = "philox"  # of the noise: the same seed means other draws with another one
    form: Form
    positions: Literal["alike", "mixture"] = "alike"  # of an image in a call of the form
    tau: Probability
    max_radius: dict[str, float]
    rounding_distance: dict[str, float]
    smoothing: Literal["hard", "soft"] = "hard"
    score_bins: ScoreBins | None = None  # of soft smoothing
