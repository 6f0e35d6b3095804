"""What a plan will draw of images of which only a few draws are known."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter1d
from scipy.special import expit

from ..errors import UserError
from ._counts import Floats, successes
from .adaptive import Plan
from .forecast import forecast

STEP = 0.2
NODES = expit(np.arange(-4, 16, STEP))  # values of p that stand for all; whoever is below stops at the first look
ROUNDS, SMOOTH = 50, 1.0


def expected_draws(plan: Plan, hits: ArrayLike, draws: ArrayLike) -> Floats:
    """Expected draws of each image under `plan`: the mean of `forecast` over what is known of its p.

    A hundred draws that all agree do not tell p = 0.99 from p = 0.9999, which may take ten times as many; many such
    images together do. Hence the prior of p is learnt from all images (empirical Bayes): expectation maximisation from
    Jeffreys' prior, smoothed in every round over about one unit of log(p / (1 - p)), so that 64 images do not pretend
    to know where exactly among the thresholds they lie.

    Args:
        hits, draws: whole numbers (images,), of each image's class in draws that are not used again.

    Returns: (images,), each at most the plan's last look. An estimate: good for the mean, vague one by one.
    Raises: UserError.

    >>> from .adaptive import plan
    >>> made = plan([0.5, 0.9], alpha=0.001, cap=1_000)
    >>> expected_draws(made, [30, 95], 100).round(-1).tolist()
    [100.0, 510.0]

    Paper: Silverman, Jones, Wilson, Nychka 1990 (smoothed expectation maximisation).
    """
    k, n = (np.atleast_1d(value) for value in successes(hits, draws))
    if k.ndim != 1 or not k.size:
        raise UserError(f"hits has shape {k.shape}; allowed: one row of images, at least one")
    cost = np.array([forecast(plan, p).draws for p in NODES.tolist()])
    return np.asarray(posterior(k, n) @ cost)


def posterior(hits: Floats, draws: Floats) -> Floats:
    """P(p is a node | the image's counts, the prior learnt from all images), (images, nodes)."""
    log_likelihood = hits[:, None] * np.log(NODES) + (draws - hits)[:, None] * np.log1p(-NODES)
    likelihood = np.exp(log_likelihood - log_likelihood.max(1, keepdims=True))
    prior = np.sqrt(NODES * (1 - NODES))  # Jeffreys' density over log(p / (1 - p))
    for _ in range(ROUNDS):
        found = likelihood * prior
        found /= found.sum(1, keepdims=True)
        prior = gaussian_filter1d(found.mean(0), SMOOTH / STEP, mode="nearest")
    return np.asarray(found)
