"""How numbers are printed: radii and lower limits down, upper limits up, everything else to the nearest."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from math import isfinite


def down(value: float, digits: int = 3) -> str:
    """`value` with `digits` decimals, rounded towards minus infinity.

    >>> down(0.99951, 2), down(1.5, 3)
    ('0.99', '1.500')
    """
    return _round(value, digits, ROUND_FLOOR)


def up(value: float, digits: int = 3) -> str:
    """`value` with `digits` decimals, rounded towards plus infinity.

    >>> up(0.9001, 2)
    '0.91'
    """
    return _round(value, digits, ROUND_CEILING)


def near(value: float, digits: int = 3) -> str:
    """`value` with `digits` decimals, rounded to the nearest.

    >>> near(0.9996, 3)
    '1.000'
    """
    return _round(value, digits, ROUND_HALF_EVEN)


def significant_down(value: float, digits: int = 17) -> str:
    """`value` >= 0 with `digits` significant digits, rounded down: as a decimal it never exceeds `value`.

    >>> significant_down(0.1), significant_down(1.5)
    ('0.10000000000000000', '1.5')
    """
    exact = Decimal(value)
    if exact == 0:
        return "0.0"
    step = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    cut = exact.quantize(step, rounding=ROUND_FLOOR)
    return format(exact if exact == cut else cut, "f")


def short(value: float | None) -> str:
    """A setting as a person would write it.

    >>> short(0.5), short(100000), short(1e-09), short(8 / 255)
    ('0.5', '100,000', '1e-09', '0.0313725')
    """
    if value is None:
        return "not stated"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _round(value: float, digits: int, rounding: str) -> str:
    if not isfinite(value):
        return str(value)
    return format(Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=rounding), "f")
