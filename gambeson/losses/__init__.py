"""Training methods: one pure function each, `loss(players, x, y, *, state, generator, ...) -> (named terms, state)`.

The loss that is minimised is the sum of the terms. To add a method, write its file and name it here.
"""

from collections.abc import Collection

from gambeson.errors import UserError, nearest
from gambeson.losses.adversarial import adversarial
from gambeson.losses.awp import awp
from gambeson.losses.cat_rs import cat_rs
from gambeson.losses.consistency import consistency
from gambeson.losses.cure import cure
from gambeson.losses.fast import fast
from gambeson.losses.input_gradient import input_gradient
from gambeson.losses.llr import llr
from gambeson.losses.macer import macer
from gambeson.losses.mart import mart
from gambeson.losses.noisy import noisy
from gambeson.losses.pixeldp import pixeldp
from gambeson.losses.plain import plain
from gambeson.losses.smoothadv import smoothadv
from gambeson.losses.smoothmix import smoothmix
from gambeson.losses.stability import stability
from gambeson.losses.terms import Loss
from gambeson.losses.trades import trades

__all__ = [
    "adversarial",
    "cat_rs",
    "consistency",
    "cure",
    "fast",
    "input_gradient",
    "llr",
    "macer",
    "mart",
    "noisy",
    "pixeldp",
    "plain",
    "smoothadv",
    "smoothmix",
    "stability",
    "trades",
]

LOSSES: dict[str, Loss] = {name: globals()[name] for name in __all__}


def get(name: str, options: Collection[str] = ()) -> Loss:
    """The loss called `name`; with `awp` among its options, under adversarial weight perturbation.

    >>> get("plain") is plain
    True
    """
    if name not in LOSSES:
        raise UserError(f"method {name!r} is not known; {nearest(name, __all__)}")
    return awp(LOSSES[name]) if "awp" in options else LOSSES[name]
