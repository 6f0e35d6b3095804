"""What was asked of an evaluation."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

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


class Member(Strict):
    """One attack of a suite."""

    name: str
    attack: str
    options: dict[str, Any]  # every default among them


class AttackedSettings(Strict):
    """Everything that reviewers asked of an attack's number; null only where it cannot apply."""

    attack: str
    target: Literal["base", "smoothed"]
    norm: Literal["linf", "l2", "l1"]
    eps: Annotated[float, Field(ge=0)] | None  # null of attacks for the smallest perturbation
    steps: Positive | None = None  # these eight of PGD and FGSM, whose options are listed one by one
    step_size: float | None = None
    step_rule: str | None = None
    loss: str | None = None
    restarts: Positive | None = None
    random_start: bool | None = None
    early_stop: bool | None = None
    step_rule_settings: dict[str, float] | None = None
    options: dict[str, Any] | None = None  # of other attacks, every default among them
    members: list[Member] | None = None  # of a suite
    projection: str
    box: tuple[float, float]
    targeted: Literal["given", "random", "least_likely"] | None
    targets_hash: str | None
    batch: Positive
    noise: str | None
    attack_draws: Positive | None
    redraw: bool | None
    order: Literal["log_of_mean", "mean_of_log"] = "log_of_mean"
    gradient: Literal["autograd", "stein"] = "autograd"
    predict_draws: Positive | None
    predict_alpha: Probability | None
    seed: int
    form: Form | None
    source: str | None = None  # the weights' hash of the classifier that transfer was made on
    share: Annotated[float, Field(gt=0, le=1)] = 1.0  # of a suite's restarts and queries

    @model_validator(mode="after")
    def _complete(self) -> "AttackedSettings":
        listed = ("steps", "step_size", "step_rule", "loss", "restarts", "random_start", "early_stop")
        if self.attack in ("pgd", "fgsm"):
            missing = [name for name in (*listed, "step_rule_settings", "eps") if getattr(self, name) is None]
        else:
            missing = ["options"] if self.options is None and self.members is None else []
        if missing:
            raise ValueError(f"{', '.join(missing)} missing: every option of an attack is recorded")
        return self


class Looked(Strict):
    """How hard a diagnosis looked."""

    steps: Positive
    restarts: Positive
    restart_steps: Positive
    eps_steps: Positive
    climb_steps: Positive
    queries: Positive
    samples: Positive
    transfer_steps: Positive
    noise_draws: Positive
    directions: Positive
    radius: Annotated[float, Field(ge=0)]
    linearity_restarts: Positive
    linearity_steps: Positive


class DiagnosedSettings(Strict):
    target: Literal["base", "smoothed"]
    norm: Literal["linf", "l2", "l1"]
    eps: Annotated[float, Field(gt=0)]
    multiples: list[float]
    budget: Looked
    source: str | None  # the weights' hash of the classifier that transfer was made on
    batch: Positive
    noise: str | None
    attack_draws: Positive | None
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
