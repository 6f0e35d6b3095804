"""The two ways in which a command can end badly, and what helps to tell it in a line."""

from collections.abc import Iterable
from difflib import get_close_matches

SHOWN = 30  # known names in a message


class UserError(ValueError):
    """A user's mistake: the message names the thing, its value, the allowed range and the remedy (exit status 2)."""


class RunError(RuntimeError):
    """A run that failed although the command was right: a full disk, an unsound certificate (exit status 1)."""


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, a GPU's, or torch's on the CPU, which has no error of its own."""
    told = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return told or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def nearest(word: str, known: Iterable[str]) -> str:
    """The nearest known name, if any is near, and all of them.

    >>> nearest("epoch", ["epochs", "batch"])
    'did you mean epochs? Known: epochs, batch'
    """
    names = list(known)
    close = get_close_matches(word, names, 1, 0.5)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (f"did you mean {close[0]}? " if close else "") + f"Known: {', '.join(names[:SHOWN]) or 'none'}{more}"


def first_line(error: Exception) -> str:
    """An exception in one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    return f"{type(error).__name__}: {next(filter(None, lines), '')}"
