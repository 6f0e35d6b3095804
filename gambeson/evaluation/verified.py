"""Somebody else's certificates, judged on fresh noise.

A record claims that the smoothed classifier gives its class with probability at least p_lower (soft: that its mean
score is at least p_lower), and some that no other class has more than p_upper_two_sided. Fresh, independent draws give
bounds on these probabilities from the other side; where one contradicts a claim, the image is rejected. A sound
procedure claims a p_lower that is false with probability alpha, and a p_upper_two_sided with alpha / 2; of m images,
each fresh bound fails with probability beta / m. So those of a sound procedure, chosen without a look at what was
claimed, are rejected independently of each other, each with at most the sum of these probabilities.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import scipy  # its stats, which take long to import, when they are asked for
from torch import Tensor

from gambeson.sampling import Counts
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.procedure import Ask
from gambeson.stats import betting, lower, score_bins, upper


@dataclass(frozen=True)
class Verdict:
    """What is said of `rejected` of `images` did not stand on fresh noise; more than `allowed` of sound ones are
    rejected with probability `level` at most. claims: of how many a radius is claimed: there is something to reject.
    """

    images: int
    claims: int
    rejected: int
    allowed: int
    draws: int
    beta: float
    level: float
    seed: int

    @property
    def stands(self) -> bool:
        return self.rejected <= self.allowed

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "stands": self.stands}


def on_fresh_noise(
    smoothed: Smoothed,
    images: Tensor,
    records: Sequence[dict[str, Any]],
    *,
    draws: int,
    alpha: float,
    beta: float = 0.001,
    level: float = 1e-6,
    seed: int | None = None,
    tell: Callable[[int], None] = lambda done: None,
) -> tuple[Verdict, list[int]]:
    """Judge what `records` claim (of `images` (N, C, H, W), in that order; abstentions too) on noise of a new seed.

    An image is rejected if upper(hits, draws, beta / N), tau added, lies below its p_lower (about a mean score:
    `betting.upper` of the fresh scores), or if a lower bound on another class, tau subtracted, lies above its
    p_upper_two_sided. Where every noisy copy was counted they are counted again, and it is rejected if any count
    differs, and none may be. draws: for each image, rounded up to whole calls where rows differ. seed: None draws one
    that nobody could know before. tell: how many images are judged. Returns the verdict and the indices of the
    rejected images.
    """
    fresh = replace(smoothed, seed=secrets.randbits(62) if seed is None else seed)
    draws, exact, number = smoothed.draws(draws), smoothed.noise.states is not None, max(1, len(records))
    rejected = []
    for done, (image, record) in enumerate(zip(images, records, strict=True), start=1):
        score = record["selected"] if record.get("scores") is not None else None
        found = fresh.answer(image, record["index"], Ask("verify", 0, draws, score))
        if exact:
            stands = found.classes.tolist() == record["counts"]
        else:
            stands = _stands(record, found, fresh.tau(image.numel()), beta / number)
        rejected += [] if stands else [record["index"]]
        tell(done)
    claims = sum(any(radius > 0 for radius in record["radii"].values()) for record in records)
    false = 1.5 * alpha if any(record["p_upper_two_sided"] is not None for record in records) else alpha
    allowed = int(scipy.stats.binom.isf(level, number, 0.0 if exact else min(1.0, false + 2 * beta / number)))
    return Verdict(len(records), claims, len(rejected), allowed, draws, beta, level, fresh.seed), rejected


def _stands(record: dict[str, Any], found: Counts, tau: float, beta: float) -> bool:
    """Whether fresh draws contradict neither bound; each bound from them fails with probability beta."""
    selected, most = record["selected"], record["p_upper_two_sided"]
    if found.scores is None:
        p_upper = float(upper(int(found.classes[selected]), found.draws, beta))
    else:
        p_upper = betting.upper(score_bins.largest_scores(), found.scores, beta)
    others = np.delete(found.classes, selected)
    if most is not None and float(lower(int(others.max()), found.draws, beta / len(others))) - tau > most:
        return False
    return min(1.0, p_upper + tau) >= record["p_lower"]
