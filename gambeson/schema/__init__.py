"""What a header, an evaluation's settings and a record must hold: whatever lacks a field cannot be written."""

from typing import Any

from gambeson.errors import UserError
from gambeson.schema.records import AttackedRecord, CertifiedRecord, CleanRecord, DiagnosedRecord, Slice
from gambeson.schema.run import Check, Evaluation, Forms, Header
from gambeson.schema.settings import AttackedSettings, CertifiedSettings, CleanSettings, DiagnosedSettings
from gambeson.schema.strict import Strict, read, written

SETTINGS: dict[str, type[Strict]] = {
    "clean": CleanSettings,
    "attacked": AttackedSettings,
    "certified": CertifiedSettings,
    "diagnosed": DiagnosedSettings,
}
RECORDS: dict[str, type[Strict]] = {
    "clean": CleanRecord,
    "attacked": AttackedRecord,
    "certified": CertifiedRecord,
    "diagnosed": DiagnosedRecord,
}


def check_settings(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings about to be written, without defaults: an evaluation's id is their hash, which no new one may move."""
    return written(SETTINGS[kind], settings, f"the settings of an evaluation of kind {kind!r}", as_given=True)


def check_record(kind: str, record: dict[str, Any]) -> dict[str, Any]:
    """A record about to be written."""
    return written(RECORDS[kind], record, f"a record of kind {kind!r}")


def check_slice(value: dict[str, Any]) -> dict[str, Any]:
    """A line of partial counts about to be written, without defaults: votes have no scores, and lines are many."""
    return written(Slice, value, "partial counts", as_given=True)


def as_header(value: dict[str, Any], where: str) -> dict[str, Any]:
    """What was read at `where`, unchanged; what is no header is a UserError that says where, and so for the others."""
    return read(Header, value, where, "restore the file, or start a new run")


def as_evaluation(value: dict[str, Any], where: str) -> dict[str, Any]:
    return read(Evaluation, value, where, "restore the file, or delete it and run again")


def as_forms(value: dict[str, Any], where: str) -> dict[str, Any]:
    return read(Forms, value, where, "restore the file, or delete it to choose a form again")


def as_check(value: dict[str, Any], where: str) -> dict[str, Any]:
    return read(Check, value, where, "remove the line and check again")


def as_slice(value: dict[str, Any], where: str) -> dict[str, Any]:
    return read(Slice, value, where, "remove the line and run again")


def as_record(value: dict[str, Any], where: str) -> dict[str, Any]:
    kind = str(value.get("evaluation")).partition("-")[0]
    if kind not in RECORDS:
        raise UserError(
            f"{where}: its evaluation is {value.get('evaluation')!r}, of no kind that this version reads "
            f"({', '.join(RECORDS)}); remove the line and run again"
        )
    return read(RECORDS[kind], value, where, "remove the line and run again")
