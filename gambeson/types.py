"""The words that every signature shares."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

from torch import Tensor

from gambeson.errors import UserError

Images = Tensor  # float (N, C, H, W), values in [0, 1]
Labels = Tensor  # int64 (N,)
Logits = Tensor  # float (N, K)
Classifier = Callable[[Tensor], Tensor]  # images -> logits
Norm = Literal["linf", "l2", "l1"]
NORMS: tuple[Norm, ...] = get_args(Norm)


@dataclass(frozen=True)
class Ball:
    """All perturbations whose `norm` is at most `eps`, in [0, 1] pixel units (8/255, not 8).

    >>> Ball("linf", 8 / 255)
    Ball(norm='linf', eps=0.03137254901960784)
    """

    norm: Norm
    eps: float

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise UserError(f"norm is {self.norm!r}; it must be one of {', '.join(NORMS)}")
        if not isinstance(self.eps, int | float):
            raise UserError(f"eps is {self.eps!r}; it must be a number, in [0, 1] pixel units (write 8 / 255)")
        if not (isfinite(self.eps) and self.eps >= 0):
            raise UserError(
                f"eps is {self.eps}; it must be finite and >= 0, in [0, 1] pixel units (write 8/255, not 8)"
            )


@dataclass(frozen=True)
class Box:
    """The values that a pixel may have."""

    lower: float = 0.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        if not self.lower < self.upper:
            raise UserError(f"box is [{self.lower}, {self.upper}]; the lower end must be below the upper end")
