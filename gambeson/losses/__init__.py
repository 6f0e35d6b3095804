"""Training methods: one pure function each, `loss(players, x, y, *, state, generator, ...) -> (named terms, state)`.

The loss that is minimised is the sum of the terms. To add a method, write its file and name it here.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from gambeson.errors import UserError, nearest
from gambeson.losses.adversarial import adversarial
from gambeson.losses.noisy import noisy
from gambeson.losses.plain import plain
from gambeson.losses.stability import stability

__all__ = ["adversarial", "noisy", "plain", "stability"]

Loss = Callable[..., tuple[dict[str, Tensor], Mapping[str, Tensor]]]

LOSSES: dict[str, Loss] = {name: globals()[name] for name in __all__}


def get(name: str) -> Loss:
    """The loss called `name`.

    >>> get("plain") is plain
    True
    """
    if name not in LOSSES:
        raise UserError(f"method {name!r} is not known; {nearest(name, __all__)}")
    return LOSSES[name]
