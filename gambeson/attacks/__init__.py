"""Attacks. The registry is `__all__`.

On a ball: attack(logits, x, y, *, ball, ..., keys) -> Result, the worst point in it. For the smallest perturbation:
attack(logits, x, y, *, ..., keys) -> Result, the nearest point that fools, in the attack's norm.
"""

from collections.abc import Callable

from gambeson.attacks.apgd import apgd
from gambeson.attacks.boundary import boundary
from gambeson.attacks.carlini_wagner_l2 import carlini_wagner_l2
from gambeson.attacks.carlini_wagner_linf import carlini_wagner_linf
from gambeson.attacks.ddn import ddn
from gambeson.attacks.deepfool import deepfool
from gambeson.attacks.fab import fab
from gambeson.attacks.fgsm import fgsm
from gambeson.attacks.fmn import fmn
from gambeson.attacks.high_confidence import high_confidence
from gambeson.attacks.multi_targeted import multi_targeted
from gambeson.attacks.pgd import pgd
from gambeson.attacks.random_noise import random_noise
from gambeson.attacks.result import Result
from gambeson.attacks.spsa import spsa
from gambeson.attacks.square import square
from gambeson.attacks.transfer import transfer

__all__ = [
    "apgd",
    "boundary",
    "carlini_wagner_l2",
    "carlini_wagner_linf",
    "ddn",
    "deepfool",
    "fab",
    "fgsm",
    "fmn",
    "high_confidence",
    "multi_targeted",
    "pgd",
    "random_noise",
    "spsa",
    "square",
    "transfer",
]

NEAREST = ("boundary", "carlini_wagner_l2", "carlini_wagner_linf", "ddn", "deepfool", "fmn", "high_confidence")
BLACK_BOX = ("boundary", "random_noise", "spsa", "square", "transfer")  # they need no gradient of the model's

Attack = Callable[..., Result]
ATTACKS: dict[str, Attack] = {name: globals()[name] for name in __all__ if name not in NEAREST}
NEAREST_ATTACKS: dict[str, Attack] = {name: globals()[name] for name in NEAREST}
