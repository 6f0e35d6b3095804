"""What a guard rail says."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Flag:
    """One complaint: `refuse` means that results would be wrong, `doubt` that they probably are."""

    name: str
    severity: Literal["refuse", "doubt"]
    message: str


def refuse(name: str, message: str) -> Flag:
    """A flag that stops an evaluation."""
    return Flag(name, "refuse", message)


def doubt(name: str, message: str) -> Flag:
    """A flag that goes into the record."""
    return Flag(name, "doubt", message)
