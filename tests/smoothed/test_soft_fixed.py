"""The soft smoothed classifier, certified: where its mean score is known, bounds and radii are right."""

from math import sqrt

import numpy as np
import pytest
import torch
from halfspaces import FALSE_ALARM, LEVELS, WEIGHTS, image_at
from scipy.special import ndtr, ndtri
from scipy.stats import binom
from torch import Tensor

from gambeson.certificates import applicable
from gambeson.inference import Form, serve
from gambeson.noise import lattice, parse
from gambeson.sampling import Counts
from gambeson.smoothed import hard
from gambeson.smoothed.company import together
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.procedure import ABSTAIN, Ask
from gambeson.smoothed.soft_fixed import largest_soft_radii, mean_score_bound, soft_fixed
from gambeson.stats import betting, score_bins

SIGMA = 0.25


def probit(threshold: float, width: float, noise: str = f"gaussian:{SIGMA}", seed: int = 0) -> Smoothed:
    """Score of class 1: Phi((weights . x - threshold) / width), a half-space with a soft edge."""

    def model(x: Tensor) -> Tensor:
        side = ((x.double() * LEVELS).round().flatten(1) @ WEIGHTS.double() / LEVELS - threshold) / width
        logits = torch.stack([torch.special.log_ndtr(-side), torch.special.log_ndtr(side)], 1).float()
        return torch.cat([logits, torch.full_like(logits[:, :1], -1e9)], 1)

    return Smoothed(serve(model, Form("float32", "contiguous", 200)), lattice(parse(noise), LEVELS), 3, seed)


def mean_score(distance: float, width: float) -> float:
    """E Phi((d + sigma |w| Z) / width), a normal integral; d is the distance times |w|."""
    norm = float(WEIGHTS.norm())
    return float(ndtr(distance * norm / sqrt(width**2 + (SIGMA * norm) ** 2)))


def certify(smoothed: Smoothed, pixels: Tensor, index: int = 0, **budget) -> dict:
    return together(smoothed, [soft_fixed(smoothed, pixels, **budget)], pixels[None], [index])[0]


@pytest.mark.parametrize("width", [0.1, 3.0, 10.0])
@pytest.mark.parametrize("distance", [0.1, 0.3])
def test_the_bound_is_below_the_mean_score_and_near_it(distance, width) -> None:
    pixels, edge = image_at(distance)
    found = certify(probit(edge, width), pixels, select_draws=50, draws=4_000, alpha=0.001)
    exact = mean_score(distance, width)
    assert exact - 0.05 < found["p_lower"] < exact
    assert found["radii"]["gaussian_l2"] <= distance  # the boundary is the half-space's, whatever the width
    assert found["selected"] == 1
    assert sum(found["scores"]) == sum(found["counts"]) + found["nonfinite"] == 4_000
    assert 0 < found["radii_real"]["gaussian_l2"] < found["radii"]["gaussian_l2"]
    assert set(found["radii"]) == {row.name for row in applicable("gaussian")}


RUNS, ALPHA, NEAR = 600, 0.1, 0.44  # at this distance about 96 % of the score's mass lies at 1, the rest at 0


def false_claims(monkeypatch: pytest.MonkeyPatch) -> int:
    """Of RUNS certificates, each on noise of its own, those that claim too large a mean score."""
    monkeypatch.setattr(hard, "applicable", lambda kind: applicable(kind)[:1])  # the others cost more than the draws
    pixels, edge = image_at(NEAR)
    smoothed = probit(edge, 0.1)
    work = [soft_fixed(smoothed, pixels, select_draws=20, draws=100, alpha=ALPHA) for _ in range(RUNS)]
    records = together(smoothed, work, pixels.expand(RUNS, 1, 4, 4), range(RUNS))
    return sum(record["p_lower"] > mean_score(NEAR, 0.1) for record in records)


def test_a_mean_score_is_claimed_too_large_as_rarely_as_alpha(monkeypatch) -> None:
    assert 0 < false_claims(monkeypatch) <= binom.isf(FALSE_ALARM, RUNS, ALPHA)


def test_mutant_a_normal_approximation_is_noticed(monkeypatch) -> None:
    def wald(values: np.ndarray, counts: np.ndarray, alpha: float) -> float:
        mean = np.average(values, weights=counts)
        spread = np.sqrt(np.average((values - mean) ** 2, weights=counts) / counts.sum())
        return max(0.0, float(mean + ndtri(alpha) * spread))

    monkeypatch.setattr(betting, "lower", wald)
    assert false_claims(monkeypatch) > binom.isf(FALSE_ALARM, RUNS, ALPHA)


def test_a_mean_score_below_one_half_abstains_though_the_vote_is_sure() -> None:
    """Three classes at 0.45, 0.4, 0.15 on every draw: the vote is unanimous, the mean score proves nothing."""

    def model(x: Tensor) -> Tensor:
        return torch.tensor([0.45, 0.4, 0.15]).log().expand(len(x), 3)

    smoothed = Smoothed(serve(model, Form("float32", "contiguous", 200)), lattice(parse("gaussian:0.25"), LEVELS), 3)
    found = certify(smoothed, torch.zeros(1, 4, 4), select_draws=10, draws=500, alpha=0.001)
    assert (found["predict"], found["reason"], found["counts"]) == (ABSTAIN, "p_lower <= 1/2", [500, 0, 0])
    assert set(found["radii"].values()) == {0.0}


def test_what_is_sent_decides_and_nothing_else() -> None:
    smoothed = probit(0.0, 1.0)
    procedure = soft_fixed(smoothed, torch.zeros(1, 4, 4), select_draws=10, draws=1_000, alpha=0.01)
    assert next(procedure) == Ask("select", 0, 10)
    assert procedure.send(Counts(np.array([1, 2, 7]), 10)) == Ask("estimate", 0, 1_000, 2)
    scores = np.zeros(score_bins.BINS, dtype=np.int64)
    scores[[0, 100, 300]] = [900, 60, 40]
    with pytest.raises(StopIteration) as stopped:
        procedure.send(Counts(np.array([50, 0, 950]), 1_000, scores))
    found = stopped.value.value
    low = betting.lower(score_bins.least_scores(), scores, 0.01)
    assert found["p_lower"] == smoothed.less_tau(low, 16) == mean_score_bound(smoothed, scores, 0.01, 16) < low
    assert (found["predict"], found["scores"][100], found["counts"]) == (2, 60, [50, 0, 950])


@pytest.mark.parametrize("noise", ["gaussian:0.25", "laplace:0.2", "uniform:0.5"])
def test_the_largest_radii_are_those_of_perfect_scores(noise) -> None:
    smoothed = probit(-1000.0, 1.0, noise)
    best = certify(smoothed, torch.zeros(1, 4, 4), select_draws=10, draws=500, alpha=0.001)
    assert best["scores"][0] == 500
    assert best["radii"] == largest_soft_radii(smoothed, 500, 0.001, 16)
    for name, radius in best["radii"].items():
        assert 0 < radius < smoothed.largest_radii(500, 0.001, 16)[name]
