"""Every certificate holds for base classifiers that answer with scores in [0, 1], not only with a class.

In one dimension: random step functions, whose mean scores under noise are sums of the noise's distribution function,
hence known exactly at x and at every shift. l1 and l2 are one there. Noise that is not added has votes only.
"""

import numpy as np
import pytest
from scipy import stats

from gambeson.certificates import CERTIFICATES

NOISE = {"gaussian": stats.norm(), "laplace": stats.laplace(), "uniform": stats.uniform(-1, 2)}


def step_functions(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells' edges (count, 9) and scores of three classes (count, 10, 3) that add up to 1; the first is often large."""
    edges = np.sort(generator.normal(size=(count, 9)) * generator.choice([0.3, 1.0, 2.0], size=(count, 1)), axis=1)
    scores = generator.dirichlet([0.5, 0.5, 0.5], size=(count, 10))
    lead = generator.random((count, 1, 1)) ** 0.5
    falls = np.linspace(1, 0, 10)[None, :, None] ** generator.choice([0.1, 0.3, 1.0, 4.0], size=(count, 1, 1))
    first = np.broadcast_to(np.array([1.0, 0.0, 0.0]), scores.shape)
    share = lead * np.where(generator.random((count, 1, 1)) < 0.7, falls, 1)  # most lose their class to the right
    return edges, share * first + (1 - share) * scores


def mean_scores(noise: str, edges: np.ndarray, scores: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """E scores(shift + noise), exactly: (count, 3)."""
    below = NOISE[noise].cdf(edges - shift[:, None])
    mass = np.diff(below, axis=1, prepend=0.0, append=1.0)
    return np.einsum("nc,nck->nk", mass, scores)


@pytest.mark.parametrize("row", [row for row in CERTIFICATES.values() if row.noise in NOISE], ids=lambda row: row.name)
@pytest.mark.parametrize("pair", [False, True], ids=["one_sided", "two_sided"])
def test_the_top_class_stays_ahead_within_the_radius(row, pair) -> None:
    edges, scores = step_functions(np.random.default_rng(1), 4_000)
    here = mean_scores(row.noise, edges, scores, np.zeros(len(edges)))
    top = here.argmax(1)
    p_lower = here[np.arange(len(here)), top]
    others = np.where(np.arange(3) == top[:, None], 0, here)
    radius = np.asarray(row.radius(p_lower, others.max(1) if pair else None, 1.0))
    assert (radius > 0).mean() > 0.3
    inside = np.where(np.isfinite(radius), radius, 50) * (1 - 1e-9)
    for shift in (inside, -inside):
        there = mean_scores(row.noise, edges, scores, shift)
        behind = there.max(1) - there[np.arange(len(top)), top]
        assert np.all((behind < 1e-12) | (radius == 0))


@pytest.mark.parametrize("noise", NOISE)
def test_a_radius_a_fifth_too_large_would_be_noticed(noise) -> None:
    """The worst soft classifier falls from score 1 to score 0; step functions that do nearly so are among them."""
    row = next(row for row in CERTIFICATES.values() if row.noise == noise)
    edges, scores = step_functions(np.random.default_rng(1), 4_000)
    edges = np.repeat(edges[:, 4:5], 9, axis=1) + 1e-9 * np.arange(9)
    scores = np.stack([scores[:, 0], *[scores[:, 4]] * 8, scores[:, 9]], 1)
    here = mean_scores(noise, edges, scores, np.zeros(len(edges)))
    radius = np.asarray(row.radius(here[:, 0], None, 1.0))
    there = mean_scores(noise, edges, scores, 1.2 * np.where(np.isfinite(radius), radius, 0))
    assert np.any((radius > 0) & (there.argmax(1) != 0))
