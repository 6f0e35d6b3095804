"""Typed JSON: nothing unknown, nothing missing, no infinity; mistakes become one line."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gambeson.errors import UserError

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True)


def written(model: type[Strict], value: dict[str, Any], what: str, as_given: bool = False) -> dict[str, Any]:
    try:
        return model.model_validate(value).model_dump(mode="json", exclude_unset=as_given)
    except ValidationError as error:
        problems = _problems(error)
        raise UserError(f"{what} cannot be written: {problems}. Give every field, null where none applies") from None


def read(model: type[Strict], value: dict[str, Any], where: str, remedy: str) -> dict[str, Any]:
    try:
        model.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{where}: {_problems(error)}; {remedy}") from None
    return value


def _problems(error: ValidationError) -> str:
    return "; ".join(f"field {'.'.join(map(str, e['loc']))!r}: {e['msg']}" for e in error.errors())
