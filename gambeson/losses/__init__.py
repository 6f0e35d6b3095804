"""Training methods: one pure function each, `loss(players, x, y, *, state, generator, ...) -> (named terms, state)`.

The loss that is minimised is the sum of the terms. To add a method, write its file and name it here.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from gambeson.errors import UserError
from gambeson.losses.noisy import noisy
from gambeson.losses.plain import plain
from gambeson.losses.stability import stability

__all__ = ["noisy", "plain", "stability"]

Loss = Callable[..., tuple[dict[str, Tensor], Mapping[str, Tensor]]]


def get(name: str) -> Loss:
    """The loss called `name`."""
    if name not in __all__:
        raise UserError(f"method {name!r} is not known; it must be one of {', '.join(__all__)}")
    found: Any = globals()[name]
    return found
