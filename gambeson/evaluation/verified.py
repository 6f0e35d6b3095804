"""Somebody else's certificates, checked again: their bounds from their counts, and their claims on fresh noise.

A record claims that the smoothed classifier gives its class with probability at least p_lower (soft: that its mean
score is at least p_lower). Fresh, independent draws give an upper bound on that probability; where it lies below the
claim, the claim is rejected. Sound certificates are wrong with probability alpha each, and the upper bounds with beta
together, so the number of rejections is at most that of Binomial(m, alpha), but for beta.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import isclose
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom
from torch import Tensor

from gambeson.errors import UserError
from gambeson.smoothed.exact import claim, every_copy
from gambeson.smoothed.grid import replay, thresholds
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.in_rounds import standing
from gambeson.smoothed.procedure import ABSTAIN, Ask
from gambeson.smoothed.soft_fixed import mean_score_bound
from gambeson.stats import Plan, Table, betting, plan, score_bins, table, upper

SAME = 1e-9  # relative: what another version of numpy or scipy may change in the last digits


@dataclass(frozen=True)
class Verdict:
    """`rejected` of `images` claims did not stand on fresh noise; up to `allowed` may fail by chance."""

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


def recomputer(smoothed: Smoothed, settings: dict[str, Any], values: int) -> Callable[[dict[str, Any]], str | None]:
    """A function of a certified record: what is wrong with its bounds and radii by its own counts; None: nothing.

    settings: of the record's evaluation. values: numbers in an image.
    """
    budget, alpha, draws = settings["budget"], settings["alpha"], settings["draws"]
    soft = settings.get("smoothing", "hard") == "soft"
    made: Plan | None = None
    whole: Table | None = None
    if budget == "exact":
        return partial(_exactly, smoothed)
    if soft and settings["score_bins"] != {"octaves": score_bins.OCTAVES, "steps": score_bins.STEPS}:
        raise UserError(f"scores are in bins {settings['score_bins']}, which this version of gambeson does not read")
    if budget != "fixed":
        least = thresholds(smoothed, budget["radii"], values)
        made = plan(least, alpha=alpha, price=budget["price"], rule=budget["rule"], looks=budget["looks"])
        if budget.get("table_error") is not None:
            whole = table(made, 1, budget["table_error"], budget["rule"])

    def by_counts(record: dict[str, Any], counts: NDArray[np.int64]) -> tuple[float, dict[str, float]] | str:
        if made is None:
            if int(counts.sum()) + record["nonfinite"] != draws:
                return f"the counts add up to {int(counts.sum())}, not to the {draws} draws"
            if soft:
                return by_scores(record)
            bounds = smoothed.bounds(counts, record["selected"], draws, alpha, values)
            return bounds.one_sided, smoothed.radii(bounds)
        looks, level = record["looks"], replay(made, record["looks"])
        if level is None or (looks and list(looks[-1]) != [record["draws"], int(counts[record["selected"]])]):
            return "its looks are not those of the plan, or do not end at its counts"
        if whole is not None:
            at = standing(whole, looks, record["selected"] == record["label"])
            if record["undecided"] != (left := budget["radii"][at.certified : at.possible]):
                return f"its undecided radii are {record['undecided']}, its looks leave {left}"
        p_lower = smoothed.less_tau(made.thresholds[level - 1], values) if level else 0.0
        return p_lower, smoothed.one_sided_radii(p_lower)

    def by_scores(record: dict[str, Any]) -> tuple[float, dict[str, float]] | str:
        scores = np.array(record["scores"] or [], dtype=np.int64)
        if scores.shape != (score_bins.BINS,) or scores.min() < 0 or int(scores.sum()) != draws:
            found = f"{scores.size} bins that add up to {int(scores.sum())}"
            return f"its scores are {found}, not {score_bins.BINS} that add up to the {draws} draws"
        p_lower = mean_score_bound(smoothed, scores, alpha, values)
        return p_lower, smoothed.one_sided_radii(p_lower)

    def problem(record: dict[str, Any]) -> str | None:
        chosen = int(np.argmax(record["select_counts"]))
        if chosen != record["selected"]:
            return f"selected is {record['selected']}, the selection counts say {chosen}"
        found = by_counts(record, np.array(record["counts"], dtype=np.int64))
        if isinstance(found, str):
            return found
        p_lower, radii = found
        if not isclose(record["p_lower"], p_lower, rel_tol=SAME, abs_tol=SAME):
            return f"p_lower is {record['p_lower']!r}, its counts give {p_lower!r}"
        for name, radius in radii.items():
            if not isclose(record["radii"][name], radius, rel_tol=1e-6, abs_tol=1e-6):
                return f"the radius {name} is {record['radii'][name]!r}, its counts give {radius!r}"
        if record["predict"] != ABSTAIN and p_lower <= 0.5:
            return f"it answers {record['predict']} with p_lower {p_lower!r}, which is not above 1/2"
        return None

    return problem


def _exactly(smoothed: Smoothed, record: dict[str, Any]) -> str | None:
    """What is wrong with a record whose counts are of every noisy copy."""
    counts, copies = record["counts"], every_copy(smoothed).draws
    if sum(counts) + record["nonfinite"] != copies:
        return f"the counts add up to {sum(counts)}, not to the {copies} noisy copies"
    for name, value in claim(smoothed, counts).items():
        if record[name] != value:
            return f"{name} is {record[name]!r}, its counts give {value!r}"
    return None if record["predict"] == record["selected"] else f"it answers {record['predict']}, not what was selected"


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
    """Judge the claims of `records` (of `images` (N, C, H, W), in that order) on noise of a new seed.

    A claim is rejected if upper(hits, draws, beta / N), tau added, lies below its p_lower; one about a mean score, by
    `betting.upper` of the fresh scores. Where every noisy copy was counted they are counted again, and a claim is
    rejected if any count differs. Returns the verdict and the indices of the rejected images. seed: None draws one that
    nobody could know before.
    """
    fresh = replace(smoothed, seed=secrets.randbits(62) if seed is None else seed)
    rejected, draws = [], smoothed.draws(draws)
    for image, record in zip(images, records, strict=True):
        if smoothed.noise.states is not None:
            found = fresh.answer(image, record["index"], Ask("verify", 0, draws))
            rejected += [record["index"]] * (found.classes.tolist() != record["counts"])
            continue
        most = _most(fresh, image, record, draws, beta / len(records))
        if min(1.0, most + fresh.tau(image.numel())) < record["p_lower"]:
            rejected.append(record["index"])
    allowed = int(binom.isf(level, max(1, len(records)), alpha))
    return Verdict(len(records), len(rejected), allowed, draws, beta, level, fresh.seed), rejected


def _most(fresh: Smoothed, image: Tensor, record: dict[str, Any], draws: int, beta: float) -> float:
    """An upper bound, from fresh draws, on what the record bounds from below."""
    soft = record.get("scores") is not None
    found = fresh.answer(image, record["index"], Ask("verify", 0, draws, record["selected"] if soft else None))
    if found.scores is None:
        return float(upper(int(found.classes[record["selected"]]), draws, beta))
    return betting.upper(score_bins.largest_scores(), found.scores, beta)
