"""CERTIFY for the soft smoothed classifier: the class with the largest mean score, with a fixed number of draws.

    G_c(x) = E softmax_c( f(x + noise) ),   the answer is argmax_c G_c(x)

Every certificate holds for it as for votes: G is the vote of a base classifier that draws its class at random from the
softmax, and no certificate asks that the base classifier be deterministic (docs/methods/soft_smoothing.md).
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gambeson.smoothed.claim import claim
from gambeson.smoothed.procedure import Ask, Procedure
from gambeson.stats import betting, score_bins

if TYPE_CHECKING:
    from gambeson.smoothed.hard import Smoothed


def soft_fixed(smoothed: "Smoothed", pixels: Tensor, *, select_draws: int, draws: int, alpha: float) -> Procedure:
    """Certify one image (C, H, W) in [0, 1]; returns a certified record's fields.

    With probability at least 1 - alpha over the draws, the soft smoothed classifier gives `selected` to every image
    within every radius of the record. The class is picked by votes, as `fixed` picks it: the bound holds for whatever
    class other draws have picked, it answers only where the mean score is above 1/2, and there the two seldom differ.
    The votes of the estimation are recorded beside the scores; nothing is claimed from them.
    """
    select = yield Ask("select", 0, select_draws)
    selected = int(select.classes.argmax())
    estimate = yield Ask("estimate", 0, draws, selected)
    if estimate.scores is None:
        raise ValueError("soft_fixed asked for scores and was sent none")
    p_lower = mean_score_bound(smoothed, estimate.scores, alpha, pixels.numel())
    fields = claim(
        smoothed, pixels, selected, select, estimate, p_lower=p_lower, radii=smoothed.one_sided_radii(p_lower),
        reason="p_lower <= 1/2" if p_lower <= 0.5 else None,
    )  # fmt: skip
    return fields | {"scores": estimate.scores.tolist()}


def mean_score_bound(smoothed: "Smoothed", scores: NDArray[np.int64], alpha: float, values: int) -> float:
    """A lower bound on the mean score at `alpha`, less tau: a function with values in [0, 1] shifts by no more."""
    return smoothed.less_tau(betting.lower(score_bins.least_scores(), scores, alpha), values)


def largest_soft_radii(smoothed: "Smoothed", draws: int, alpha: float, values: int) -> dict[str, float]:
    """What can be certified at most: the radii when all scores are in the first bin."""
    best = np.zeros(score_bins.BINS, dtype=np.int64)
    best[0] = draws
    return smoothed.one_sided_radii(mean_score_bound(smoothed, best, alpha, values))
