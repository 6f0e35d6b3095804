"""Floating point leaks x: the published construction gets false certificates from a float sampler, and none from ours.

Voracek & Hein 2023: adding noise to a in floating point rounds, and not every float can be a sum with a. The base
classifier answers 1 where every pixel's float survives (z - a) + a, which all sums with a do, and few sums with
another x. Real-valued noise would never tell the two apart.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from exact_cells import cell_probabilities
from scipy.stats import binomtest, norm
from statsmodels.stats.proportion import proportion_confint
from torch import Tensor

from gambeson.inference import Form
from gambeson.noise import parse
from gambeson.smoothed.classifier import SmoothedClassifier
from gambeson.smoothed.procedure import ABSTAIN

SIGMA, ALPHA, SELECT, DRAWS = 0.5, 0.001, 100, 100_000
Model = Callable[[Tensor], Tensor]


def survives(center: Tensor) -> Model:
    """Class 1 where (z - center) + center == z for every pixel, in the floats that it is given."""

    def model(z: Tensor) -> Tensor:
        a = center.to(z)
        through = ((z - a) + a == z).flatten(1).all(1)
        return torch.stack([~through, through], 1).float()

    return model


def float_counts(model: Model, x: Tensor, draws: int, source: torch.Generator) -> list[int]:
    """The published loop: copies of x, plus randn times sigma, in the floats that x is in."""
    counts = torch.zeros(2, dtype=torch.int64)
    for start in range(0, draws, 10_000):
        batch = x.repeat((min(10_000, draws - start), 1, 1, 1))
        noise = torch.randn(batch.shape, generator=source, dtype=x.dtype) * SIGMA
        counts += model(batch + noise).argmax(1).bincount(minlength=2)
    return counts.tolist()


def float_certify(model: Model, x: Tensor) -> tuple[int, float]:
    """CERTIFY as published: Cohen et al. 2019, n0 = 100, n = 100,000, alpha = .001."""
    source = torch.Generator().manual_seed(0)
    selected = int(np.argmax(float_counts(model, x, SELECT, source)))
    hits = float_counts(model, x, DRAWS, source)[selected]
    return selected, SIGMA * norm.ppf(proportion_confint(hits, DRAWS, alpha=2 * ALPHA, method="beta")[0])


def float_predict(model: Model, x: Tensor) -> int:
    """PREDICT as published, at the same alpha; -1 where it abstains."""
    counts = float_counts(model, x, DRAWS, torch.Generator().manual_seed(1))
    top = int(np.argmax(counts))
    return top if binomtest(counts[top], sum(counts), 0.5).pvalue <= ALPHA else -1


def pixels(*cells: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """An 8-bit image of one row, divided by 255 in `dtype`."""
    return (torch.tensor(cells, dtype=dtype) / 255).reshape(1, 1, -1)


def lattice_truth(center: int) -> np.ndarray:
    """P(class 1) of the smoothed classifier around every one-pixel image 0..255, exactly."""
    p = cell_probabilities(parse(f"gaussian:{SIGMA}"), 255)
    top = len(p) // 2
    reached = torch.arange(-top, 256 + top) / 255
    votes = survives(pixels(center))(reached.reshape(-1, 1, 1, 1))[:, 1].double().numpy()
    return np.array([votes[x : x + len(p)] @ p for x in range(256)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_float_sampler_certifies_beyond_an_adversarial_example(dtype: torch.dtype) -> None:
    """One pixel at 210 / 255: class 1, certified far beyond the black pixel, which gets class 0."""
    center, black = pixels(210, dtype=dtype), pixels(0, dtype=dtype)
    selected, radius = float_certify(survives(center), center)
    assert (selected, float_predict(survives(center), black)) == (1, 0)
    assert radius > 1.9 > 0.83 > float((center - black).norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_many_pixels_the_adversarial_example_is_next_door(dtype: torch.dtype) -> None:
    """100 pixels, one lattice step in each: a radius above 1.9 with an adversarial example at 0.04."""
    center, other = (pixels(*[cell] * 100, dtype=dtype) for cell in (196, 195))
    selected, radius = float_certify(survives(center), center)
    assert (selected, float_predict(survives(center), other)) == (1, 0)
    assert radius > 1.9 > 0.04 > float((center - other).norm())


def ours(center: Tensor) -> SmoothedClassifier:
    return SmoothedClassifier(
        survives(center), f"gaussian:{SIGMA}", 2, form=Form("float32", "contiguous", 5000), seed=0
    )


def test_no_lattice_certificate_reaches_an_adversarial_example() -> None:
    """The same classifier, one pixel: what is certified of black to white stays short of every other class there is."""
    truth = lattice_truth(210)
    assert 0.8 < truth[210] < 0.9  # around a itself it is an ordinary classifier, sure of nothing
    chosen = [0, *range(15, 256, 39), 210]
    found = ours(pixels(210)).certify(torch.stack([pixels(x) for x in chosen]), draws=DRAWS, alpha=ALPHA)
    assert set(found.predict.tolist()) >= {0, 1}
    for x, predicted, radius in zip(chosen, found.predict.tolist(), found.radius.tolist(), strict=True):
        if predicted != ABSTAIN:
            others = np.flatnonzero((truth > 0.5) != predicted)
            assert 0 < radius < np.abs(others - x).min() / 255


def test_in_many_pixels_the_lattice_tells_neither_image_from_the_other() -> None:
    """Class 0 around both: the float sampler's class 1, and its radius of 1.9, were the floats' doing."""
    center, other = (pixels(*[cell] * 100) for cell in (196, 195))
    found = ours(center).certify(torch.stack([center, other]), draws=DRAWS, alpha=ALPHA)
    assert found.predict.tolist() == [0, 0]
