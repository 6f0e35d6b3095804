"""Attacks: attack(logits, x, y, *, ball, ..., keys) -> Result. The registry is `__all__`."""

from collections.abc import Callable

from gambeson.attacks.fgsm import fgsm
from gambeson.attacks.pgd import pgd
from gambeson.attacks.result import Result

__all__ = ["fgsm", "pgd"]

ATTACKS: dict[str, Callable[..., Result]] = {name: globals()[name] for name in __all__}
