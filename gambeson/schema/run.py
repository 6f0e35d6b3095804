"""What a run folder says of itself: its model, what was asked of it, its checks."""

from typing import Annotated, Any, Literal

from pydantic import Field

from gambeson.schema.settings import Form
from gambeson.schema.strict import Positive, Strict


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


class About(Strict):
    """The images of an evaluation."""

    dataset: str
    split: str
    rule: str
    levels: int | None
    fingerprint: str


class Evaluation(Strict):
    """What was asked of a run: evaluations/<id>.json."""

    id: str
    kind: Literal["clean", "attacked", "certified", "diagnosed"]
    settings: dict[str, Any]
    command: str
    created: str
    examples: Positive
    data: About
    machine: dict[str, Any] | None
    flags: list[dict[str, str]]


class FoundForm(Strict):
    """An inference form that a run found."""

    form: Form
    draws: float | None = None
    asked: dict[str, Any] | None = None  # what was wished: a batch that does not fit is halved, and still asked for
    machine: dict[str, Any]
    tried: list[dict[str, Any]]


class Forms(Strict):
    """forms.json."""

    forms: list[FoundForm]


class Check(Strict):
    """One line of checks.jsonl."""

    check: str
    verdict: Literal["pass", "doubt", "fail", "not_run"]
    value: float | None
    threshold: float | None
    meaning: str
    next_step: str
