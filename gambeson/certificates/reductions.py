"""What a radius in one norm says about perturbations measured otherwise: another norm, or the number of pixels."""

from collections.abc import Iterable
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UserError
from ._inputs import Floats, check, numbers

INVERSE = {"l1": 1.0, "l2": 0.5, "linf": 0.0}  # 1/p of every norm lp


def other_norm(radius: ArrayLike, norm: str, to: str, values: int) -> float | Floats:
    """The radius in `to` that follows from a radius in `norm`: radius / values^(1/p - 1/q), or the radius itself.

    With p of `norm` and q of `to`, ||delta||_p <= d^max(0, 1/p - 1/q) ||delta||_q in d dimensions. So l2 gives linf
    radius / sqrt(d), l1 gives linf radius / d and l2 radius / sqrt(d); towards a larger norm nothing is lost or gained.
    No larger radius follows: a perturbation of d equal entries (or of one) reaches equality.

    Args:
        radius: certified for ||delta|| < radius in `norm`, pixel units, >= 0, inf allowed. Arrays of any shape.
        norm: "l1", "l2" or "linf", the norm of the certificate.
        to: "l1", "l2" or "linf".
        values: d, numbers in an image (784 for MNIST, 3072 for CIFAR-10), >= 1.

    Returns: holds for ||delta|| < it in `to`; rounded down: a float for scalars, else an array.
    Raises: UserError.

    >>> other_norm(111 / 255, "l2", "linf", 3072) > 2 / 255 > other_norm(110 / 255, "l2", "linf", 3072)
    True

    Paper: Salman et al. 2019 report linf 2/255 on CIFAR-10 this way. We differ in rounding down only.
    """
    given = _checked(radius, norm, INVERSE, values)
    _refuse_unless(to in INVERSE, "to", to, ", ".join(INVERSE))
    power = INVERSE[norm] - INVERSE[to]
    if power > 0:
        # The root is rounded by less than one step, and so is the quotient: both go one step against us.
        most = np.nextafter(np.sqrt(values) if power == 0.5 else float(values), np.inf)
        given = np.where(np.isfinite(given), np.nextafter(given / most, 0.0), given)
    return float(given[()]) if given.ndim == 0 else given


def changed_pixels(radius: ArrayLike, norm: str, values: int, channels: int = 1) -> int | NDArray[np.int64]:
    """The largest number of pixels that may be changed at will: the largest k with (channels k)^(1/p) < radius.

    A value in [0, 1] changes by at most 1, so k pixels of C values each move an image by at most C k in l1 and
    sqrt(C k) in l2; exactly that far where black becomes white. Decided in whole numbers, without rounding.

    Args:
        radius: certified for ||delta|| < radius in `norm`, pixel units, >= 0, inf allowed. Arrays of any shape.
        norm: "l1" or "l2", the norm of the certificate.
        values: numbers in an image, >= 1; k is at most all its pixels.
        channels: C, values of a pixel, a divisor of `values`; 1 counts values instead of pixels.

    Returns: k >= 0, an int for scalars, else an array of int64. k = 0 says nothing.
    Raises: UserError.

    >>> changed_pixels([1.9, 2.0, 3.81], "l2", 784).tolist()
    [3, 3, 14]

    Paper: folklore; Levine and Feizi 2020 (arXiv:1911.09272) and Lee et al. 2019 (arXiv:1906.04948) have noises made
    for l0, which certify more.
    """
    given = _checked(radius, norm, ("l1", "l2"), values)
    whole = isinstance(channels, int) and channels >= 1 and values % channels == 0
    _refuse_unless(whole, "channels", channels, f"a whole number >= 1 that divides values, here {values}")
    power = 1 if norm == "l1" else 2
    # Beyond every image's diameter radii differ in nothing, and infinity is no fraction.
    lengths = np.minimum(given, values + 1.0)
    most = [ceil(Fraction(length) ** power / channels) - 1 for length in lengths.ravel().tolist()]
    pixels = np.clip(np.array(most, dtype=np.int64), 0, values // channels).reshape(given.shape)
    return int(pixels[()]) if given.ndim == 0 else pixels


def _checked(radius: ArrayLike, norm: str, norms: Iterable[str], values: int) -> Floats:
    _refuse_unless(norm in norms, "norm", norm, ", ".join(norms))
    _refuse_unless(isinstance(values, int) and values >= 1, "values", values, "a whole number >= 1")
    allowed = "a number >= 0, in pixel units of [0, 1]"
    given = numbers("radius", radius, allowed)
    check("radius", given, given >= 0, allowed)
    return given


def _refuse_unless(good: bool, name: str, value: object, allowed: str) -> None:
    if not good:
        raise UserError(f"{name} is {value!r}; allowed: {allowed}")
