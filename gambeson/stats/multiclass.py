"""Bounds on the top class's probability and on every other class's, from one vector of counts."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UserError
from ._counts import MOST_DRAWS, Floats, fraction, refuse, successes, whole
from .clopper_pearson import complement, lower, upper


class TopAndRest(NamedTuple):
    """p_lower <= the selected class's probability; p_upper >= every other class's probability."""

    p_lower: float | Floats
    p_upper: float | Floats


def top_and_rest(counts: ArrayLike, selected: ArrayLike, alpha: float, draws: ArrayLike | None = None) -> TopAndRest:
    """Bound the selected class from below and all other classes from above, at once, with probability >= 1 - alpha.

        p_lower = lower(k_selected, n, alpha/2)
        p_upper = min( max_{c != selected} upper(k_c, n, alpha / (2 (K-1))), 1 - p_lower )

    alpha is split once, in advance: half for the selected class, half over *all* the other classes (Bonferroni). Which
    class is the runner-up is not known before the draws, so a bound on the observed one alone at alpha/2 has no proof.

    Args:
        counts: whole numbers (..., K), K >= 2: predictions per class on draws that had no part in picking `selected`.
        selected: class index (...), picked on other draws.
        alpha: failure probability in (0, 1).
        draws: n; None means the sum of the counts. Give it where some draws counted for no class (non-finite logits).

    Returns: TopAndRest(p_lower, p_upper), floats for one image, arrays (...) otherwise.
    Raises: UserError.

    >>> bounds = top_and_rest([9_000, 700, 300], 0, 0.001)
    >>> round(bounds.p_lower, 4), round(bounds.p_upper, 4)
    (0.8898, 0.0793)

    Paper: Li et al. 2019 bound the same pair by Sison-Glaz intervals on the draws that picked the class; these return
    p_lower = 1 when all draws agree and are never used here. Cohen et al. 2019 use the one-sided bound alone.
    """
    table = whole("counts", counts, 0, MOST_DRAWS)
    if table.ndim == 0 or table.shape[-1] < 2:
        raise UserError(f"counts has shape {table.shape}; allowed: (..., K) with at least K = 2 classes")
    classes = table.shape[-1]
    pick = whole("selected", selected, 0, classes - 1).astype(np.int64)
    total = table.sum(-1) if draws is None else np.broadcast_to(whole("draws", draws, 1, MOST_DRAWS), table.shape[:-1])
    refuse("sum of counts", table.sum(-1), table.sum(-1) > total, "at most draws")
    pick = np.broadcast_to(pick, table.shape[:-1])
    level = float(fraction("alpha", alpha)[()])
    chosen = np.arange(classes) == pick[..., None]
    p_lower = lower(np.where(chosen, table, 0).sum(-1), total, level / 2)
    # The bound rises with the count, so the largest other count gives the largest bound.
    rest = upper(np.where(chosen, 0, table).max(-1), total, level / (2 * (classes - 1)))
    p_upper = np.minimum(rest, complement(np.asarray(p_lower)))
    return TopAndRest(p_lower, float(p_upper) if p_upper.ndim == 0 else p_upper)


def largest_p_lower(n: int, alpha: float) -> float:
    """The largest lower bound that n draws can give at alpha: all agree, alpha**(1/n), rounded down.

    >>> round(largest_p_lower(100, 0.001), 6)
    0.933254
    """
    successes(n, n)
    return float(lower(n, n, alpha))
