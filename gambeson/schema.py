"""What a header, an evaluation's settings and a record must hold: whatever lacks a field cannot be written."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gambeson.errors import UserError

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True)


class Header(Strict):
    """Which model a run is about. Fields that a bring-your-own model cannot know are null."""

    schema_: Annotated[int, Field(alias="schema")]
    name: str
    method: str | None
    method_settings: dict[str, Any] | None
    dataset: str | None
    model: str | None
    classes: list[str]
    shape: list[int]
    levels: int | None
    seed: int | None
    model_hash: str
    data_hash: str | None
    versions: dict[str, str]
    device: str
    threads: int


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
    form: Form
    positions: Literal["alike", "mixture"] = "alike"  # of an image in a call of the form
    tau: Probability
    max_radius: dict[str, float]
    rounding_distance: dict[str, float]
    smoothing: Literal["hard", "soft"] = "hard"
    score_bins: ScoreBins | None = None  # of soft smoothing


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
    """Class counts of the first `draws` draws that were asked of an image's `stage` from draw `first` on."""

    index: int
    stage: str
    first: Annotated[int, Field(ge=0)]
    draws: Positive
    counts: list[Annotated[int, Field(ge=0)]]
    scores: list[Annotated[int, Field(ge=0)]] | None = None  # of soft smoothing: counts of a class's scores, in bins

    @model_validator(mode="after")
    def _add_up(self) -> "Counted":
        if sum(self.counts) > self.draws:
            raise ValueError(f"the counts add up to {sum(self.counts)}, more than {self.draws} draws")
        return self


class Slice(Strict):
    """One line of partial.jsonl: what a slice of work brought; `seconds` of each of its images so far."""

    evaluation: str
    seconds: Annotated[float, Field(ge=0)]
    images: list[Counted]


class Evaluation(Strict):
    """What was asked of a run: evaluations/<id>.json."""

    id: str
    kind: Literal["clean", "attacked", "certified"]
    settings: dict[str, Any]
    command: str
    created: str
    examples: Positive
    data: dict[str, Any]
    machine: dict[str, Any] | None
    flags: list[dict[str, str]]


class Check(Strict):
    """One line of checks.jsonl."""

    check: str
    verdict: Literal["pass", "doubt", "fail", "not_run"]
    value: float | None
    threshold: float | None
    meaning: str
    next_step: str


SETTINGS: dict[str, type[Strict]] = {
    "clean": CleanSettings,
    "attacked": AttackedSettings,
    "certified": CertifiedSettings,
}
RECORDS: dict[str, type[Strict]] = {
    "clean": CleanRecord,
    "attacked": AttackedRecord,
    "certified": CertifiedRecord,
}


def check_settings(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings about to be written, without defaults: an evaluation's id is their hash, which no new one may move."""
    return _written(SETTINGS[kind], settings, f"the settings of an evaluation of kind {kind!r}", as_given=True)


def check_record(kind: str, record: dict[str, Any]) -> dict[str, Any]:
    """A record about to be written."""
    return _written(RECORDS[kind], record, f"a record of kind {kind!r}")


def check_slice(value: dict[str, Any]) -> dict[str, Any]:
    """A line of partial counts about to be written."""
    return _written(Slice, value, "partial counts")


def as_header(value: dict[str, Any], where: str) -> dict[str, Any]:
    """What was read at `where`, unchanged; what is no header is a UserError that says where, and so for the others."""
    return _read(Header, value, where, "restore the file, or start a new run")


def as_evaluation(value: dict[str, Any], where: str) -> dict[str, Any]:
    return _read(Evaluation, value, where, "restore the file, or delete it and run again")


def as_check(value: dict[str, Any], where: str) -> dict[str, Any]:
    return _read(Check, value, where, "remove the line and check again")


def as_slice(value: dict[str, Any], where: str) -> dict[str, Any]:
    return _read(Slice, value, where, "remove the line and run again")


def as_record(value: dict[str, Any], where: str) -> dict[str, Any]:
    kind = str(value.get("evaluation")).partition("-")[0]
    if kind not in RECORDS:
        raise UserError(
            f"{where}: its evaluation is {value.get('evaluation')!r}, of no kind that this version reads "
            f"({', '.join(RECORDS)}); remove the line and run again"
        )
    return _read(RECORDS[kind], value, where, "remove the line and run again")


def _written(model: type[Strict], value: dict[str, Any], what: str, as_given: bool = False) -> dict[str, Any]:
    try:
        return model.model_validate(value).model_dump(mode="json", exclude_unset=as_given)
    except ValidationError as error:
        problems = _problems(error)
        raise UserError(f"{what} cannot be written: {problems}. Give every field, null where none applies") from None


def _read(model: type[Strict], value: dict[str, Any], where: str, remedy: str) -> dict[str, Any]:
    try:
        model.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{where}: {_problems(error)}; {remedy}") from None
    return value


def _problems(error: ValidationError) -> str:
    return "; ".join(f"field {'.'.join(map(str, e['loc']))!r}: {e['msg']}" for e in error.errors())
