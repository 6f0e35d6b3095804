"""From per-image certificates that each fail with probability alpha to a statement about the whole test set."""

import math

from ._counts import MOST_DRAWS, fraction, successes, whole


def whole_test_set(certified: int, images: int, alpha: float, rho: float) -> float:
    """Lower bound on the test set's true certified accuracy, right with probability >= 1 - rho over all noise draws.

        a >= 1/(1-alpha) ( Y/m - alpha - sqrt(2 alpha (1-alpha) log(1/rho) / m) - log(1/rho) / (3m) )

    a is the fraction of these m images on which the smoothed classifier is truly right and constant within the radius;
    Y is how many were certified so. Each of the (1-a) m others was certified by mistake with probability at most alpha,
    independently, so Bernstein's inequality bounds the mistakes. The images are fixed: this says nothing of new ones.

    Args:
        certified: Y, whole number in [0, m]: certified at the radius and of the right class (abstentions are not).
        images: m, whole number >= 1.
        alpha: the per-image failure probability, in (0, 1).
        rho: failure probability of this statement, in (0, 1).

    Returns: a float in [0, 1). Raises: UserError.

    >>> round(whole_test_set(350, 500, alpha=0.001, rho=0.001), 4)
    0.6898

    Paper: Cohen et al. 2019, Theorem 6. The analysis code published with it drops the factor 2 (unsound) and the
    1/(1-alpha); here both are kept.
    """
    successes(certified, images)
    m = float(whole("images", images, 1, MOST_DRAWS)[()])
    level, log_rho = float(fraction("alpha", alpha)[()]), -math.log(float(fraction("rho", rho)[()]))
    spread = math.sqrt(2 * level * (1 - level) * log_rho / m) + log_rho / (3 * m)
    bound = (certified / m - level - spread) / (1 - level)
    return max(0.0, bound - 1e-12)  # 1e-12: rounding of the few operations above, at most a few ulps each
