"""When an adaptive certification looks at its counts: a schedule that is fixed before the first draw."""

from math import ceil

from ..errors import UserError


def looks(cap: int, first: int = 100, growth: float = 1.1, step: int = 100) -> tuple[int, ...]:
    """Numbers of draws at which to look: from `first`, each at least `growth` times the last, up to `cap`.

    Args:
        cap: the most draws, the last look; the only one where it is below `first`.
        first: draws before the first look.
        growth: > 1; 1.1 gives 55 looks up to 100,000. More looks stop sooner and cost little of alpha, because
            neighbouring looks share most of their draws.
        step: looks are multiples of this (`cap` excepted), the block in which draws are made.

    Raises: UserError.

    >>> looks(1_000, first=100, growth=1.5)
    (100, 200, 300, 500, 800, 1000)
    """
    if not (1 <= step <= first and cap >= 1 and growth > 1):
        raise UserError(
            f"looks: cap is {cap}, first {first}, growth {growth}, step {step}; allowed: 1 <= step <= first, cap >= 1 "
            "and growth > 1"
        )
    found = [ceil(first / step) * step]
    while found[-1] < cap:
        found.append(max(found[-1] + step, ceil(found[-1] * growth / step) * step))
    return (*(look for look in found if look < cap), cap)
