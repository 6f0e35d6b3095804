"""Somebody else's certificates, judged on fresh noise.

A record claims that the smoothed classifier gives its class with probability at least p_lower (soft: that its mean
score is at least p_lower); one that abstains claims nothing. Fresh, independent draws give an upper bound on that
probability; where it lies below the claim, the claim is rejected. A sound procedure claims something false of an image
with probability alpha, and an upper bound fails with probability beta / m for each of m images. So those of a sound
procedure, chosen without a look at what was claimed, are rejected independently of each other, each with probability
alpha + beta / m at most.
"""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from scipy.stats import binom
from torch import Tensor

from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.procedure import ABSTAIN, Ask
from gambeson.stats import betting, score_bins, upper


@dataclass(frozen=True)
class Verdict:
    """The claims of `rejected` of `images` did not stand on fresh noise; more than `allowed` of sound ones are rejected
    with probability `level` at most.
    """

    images: int
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
) -> tuple[Verdict, list[int]]:
    """Judge what `records` claim (of `images` (N, C, H, W), in that order; abstentions too) on noise of a new seed.

    A claim is rejected if upper(hits, draws, beta / N), tau added, lies below its p_lower; one about a mean score, by
    `betting.upper` of the fresh scores. Where every noisy copy was counted they are counted again, and a claim is
    rejected if any count differs, and none may be. draws: for each image, rounded up to whole calls where rows differ.
    seed: None draws one that nobody could know before. Returns the verdict and the indices of the rejected images.
    """
    fresh = replace(smoothed, seed=secrets.randbits(62) if seed is None else seed)
    rejected, draws = [], smoothed.draws(draws)
    for image, record in zip(images, records, strict=True):
        if record["predict"] == ABSTAIN:
            continue
        if smoothed.noise.states is not None:
            found = fresh.answer(image, record["index"], Ask("verify", 0, draws))
            rejected += [record["index"]] * (found.classes.tolist() != record["counts"])
            continue
        most = _most(fresh, image, record, draws, beta / len(records))
        if min(1.0, most + fresh.tau(image.numel())) < record["p_lower"]:
            rejected.append(record["index"])
    chance = 0.0 if smoothed.noise.states is not None else alpha + beta / max(1, len(records))
    allowed = int(binom.isf(level, max(1, len(records)), chance))
    return Verdict(len(records), len(rejected), allowed, draws, beta, level, fresh.seed), rejected


def _most(fresh: Smoothed, image: Tensor, record: dict[str, Any], draws: int, beta: float) -> float:
    """An upper bound, from fresh draws, on what the record bounds from below."""
    soft = record.get("scores") is not None
    found = fresh.answer(image, record["index"], Ask("verify", 0, draws, record["selected"] if soft else None))
    if found.scores is None:
        return float(upper(int(found.classes[record["selected"]]), draws, beta))
    return betting.upper(score_bins.largest_scores(), found.scores, beta)
