"""Scores are counted in a bin that holds the true softmax, however extreme the logits."""

import mpmath as mp
import pytest
import torch

from gambeson.scores import score_bins_of
from gambeson.stats import score_bins


def softmax(logits: torch.Tensor, named: int) -> mp.mpf:
    """In 60 digits: 1 - miss, the logits taken as the exact numbers that they are."""
    mp.mp.dps = 60
    z = [mp.mpf(float(value)) for value in logits]
    return mp.exp(z[named] - max(z)) / mp.fsum(mp.exp(value - max(z)) for value in z)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0, 100.0, 3e4])
@pytest.mark.parametrize("classes", [2, 10])
def test_the_bin_holds_the_softmax(scale, classes) -> None:
    logits = torch.randn(60, classes, generator=torch.Generator().manual_seed(classes)) * scale
    logits[:5] = logits[:5, :1]  # ties
    named = torch.arange(60) % classes
    places = score_bins_of(logits, named)
    least, largest = score_bins.least_scores(), score_bins.largest_scores()
    for row, name, place in zip(logits, named.tolist(), places.tolist(), strict=True):
        exact = softmax(row, name)
        assert mp.mpf(float(least[place])) <= exact <= mp.mpf(float(largest[place]))


def test_scores_on_an_edge_of_the_grid_are_never_counted_too_high() -> None:
    """Logits log(miss), log(1 - miss) in float32, whose exact softmax lies on either side of the edge."""
    misses = torch.from_numpy(score_bins.largest_misses()[:-1])
    logits = torch.stack([misses.log(), torch.log1p(-misses)], 1).float()
    places = score_bins_of(logits, torch.ones(len(misses), dtype=torch.int64))
    least = score_bins.least_scores()
    for row in range(0, len(misses), 37):
        assert mp.mpf(float(least[places[row]])) <= softmax(logits[row], 1)
    assert int((places - torch.arange(len(misses))).abs().max()) <= 1


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_score_nothing(broken) -> None:
    logits = torch.zeros(3, 4)
    logits[1, 2] = broken
    assert score_bins_of(logits, torch.tensor([2, 2, 2])).tolist()[1] == score_bins.BINS - 1
    assert score_bins_of(logits, torch.tensor([0, 0, 0])).tolist()[1] == score_bins.BINS - 1


def test_the_largest_and_the_smallest_logits_there_are() -> None:
    most = torch.finfo(torch.float32).max
    logits = torch.tensor([[most, -most], [-most, most], [most, most]])
    assert score_bins_of(logits, torch.zeros(3, dtype=torch.int64)).tolist()[:2] == [0, score_bins.BINS - 1]
    assert score_bins.least_scores()[score_bins_of(logits, torch.zeros(3, dtype=torch.int64))[2]] <= 0.5
