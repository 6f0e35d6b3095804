"""Which noise, and how much of it."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

from gambeson.errors import UserError

Kind = Literal["gaussian", "laplace", "uniform", "splitting"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Noise:
    """A smoothing distribution in [0, 1] pixel units, the same for every pixel value.

    `scale` is sigma (gaussian), the scale b of exp(-|z|/b) (laplace), or the half-width (uniform on [-scale, scale];
    splitting: of the cells that each value's range is split into).

    >>> parse("gaussian:0.5").name
    'gaussian:0.5'
    """

    kind: Kind
    scale: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"noise kind is {self.kind!r}; it must be one of {', '.join(KINDS)} (write gaussian:0.5)")
        if not (isfinite(self.scale) and 0 < self.scale <= 10):
            raise UserError(f"noise scale is {self.scale}; it must be in (0, 10], in [0, 1] pixel units, not in 0..255")

    @property
    def name(self) -> str:
        """The shortest text that `parse` turns back into this very noise: keys, records and ids are made from it."""
        return f"{self.kind}:{float(self.scale)!r}".removesuffix(".0")


def parse(text: str) -> Noise:
    """`"gaussian:0.5"` to a Noise; anything else is a UserError."""
    if not isinstance(text, str):
        raise UserError(f"noise is {text!r}; write kind:scale as text, such as 'gaussian:{text}'")
    kind, _, scale = text.partition(":")
    try:
        return Noise(kind, float(scale))  # type: ignore[arg-type]
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"noise is {text!r}; write kind:scale, such as gaussian:0.5, laplace:0.3, uniform:1 or splitting:0.75"
        ) from None
