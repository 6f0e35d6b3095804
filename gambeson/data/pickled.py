"""Read a pickled batch without executing anything that it contains."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gambeson.errors import UserError


def pickled(path: Path) -> dict[bytes, Any]:
    """A pickled dict of numbers, bytes, lists and uint8 arrays, as in the original CIFAR batches.

    A pickle is a program. Here the only names that it may ask for are those that build an array, and they are
    answered with stand-ins that store a shape and bytes: not even NumPy's own functions run on what the file says.

    Args:
        path: the file; strings of Python 2 become bytes.

    Raises:
        UserError: the file cannot be read, asks for any other name, or does not hold a dict.
    """
    try:
        with path.open("rb") as file:
            content = _Restricted(file, encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        remedy = "nothing in a data file is executed; fetch the batch again, or use the binary version"
        raise UserError(f"{path}: not a plain pickled batch ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}; a batch is a dict with data and labels")
    plain = {key.encode() if isinstance(key, str) else key: value for key, value in content.items()}
    return {key: value.array if isinstance(value, _Array) else value for key, value in plain.items()}


class _Type:
    """Stands for numpy.dtype: only uint8 exists here."""

    def __init__(self, code: object) -> None:
        if code not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"an array of type {code!r}, not uint8")

    def __setstate__(self, state: object) -> None:
        """Byte order and the like: one byte has none."""


class _Array:
    """Stands for an array under construction."""

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_columns, content = state
        if not isinstance(kind, _Type) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array without a type or bytes")
        self.array = np.frombuffer(content, np.uint8).reshape(shape, order="F" if by_columns else "C")


def _latin1(text: str, encoding: str) -> bytes:
    """Stands for codecs.encode: how Python 3 writes bytes in an old protocol."""
    return text.encode("latin1")


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy", "ndarray"): lambda *_: _Array(),  # only ever an argument of _reconstruct
    ("numpy", "dtype"): lambda code, *_: _Type(code),
    ("_codecs", "encode"): _latin1,
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
        return ALLOWED[module, name]
