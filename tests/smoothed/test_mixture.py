"""Where logits depend on the row of a call: bounds for the mixture over rows, checked on exact distributions."""

from functools import reduce

import numpy as np
import pytest
import torch
from halfspaces import certify, halfspace
from torch import Tensor, nn

from gambeson import SmoothedClassifier, attacked, certified
from gambeson.errors import UserError
from gambeson.inference import Form
from gambeson.sampling import Counts
from gambeson.smoothed.procedure import ABSTAIN
from gambeson.smoothed.serving import smooth
from gambeson.stats import beta_mixture, group_sequential, lower
from gambeson.stats import looks as schedule

ALPHAS = (0.001, 0.05, 0.249)
RNG = np.random.default_rng(0)
ROWS = [  # probabilities of a hit, by row: alike, a little apart, apart, all or nothing
    np.full(6, 0.7),
    np.array([0.68, 0.69, 0.7, 0.71, 0.72, 0.7]),
    np.array([0.95, 0.5, 0.9, 0.6]),
    np.array([1.0, 1.0, 0.0, 1.0, 0.5]),
    RNG.uniform(0.4, 1, 8),
]


def hits_of_a_call(rows: np.ndarray) -> np.ndarray:
    """P(hits = k) when each row hits with its own probability."""
    return reduce(np.convolve, [np.array([1 - p, p]) for p in rows])


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rows", ROWS, ids=range(len(ROWS)))
def test_clopper_pearson_covers_the_mean_over_rows(rows: np.ndarray, alpha: float) -> None:
    for calls in (1, 3, 20):
        mass = reduce(np.convolve, [hits_of_a_call(rows)] * calls)
        draws = calls * len(rows)
        too_high = np.array([lower(hits, draws, alpha) > rows.mean() for hits in range(draws + 1)])
        assert mass[too_high].sum() <= alpha


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rows", ROWS, ids=range(len(ROWS)))
def test_beta_mixtures_hold_at_the_ends_of_calls(rows: np.ndarray, alpha: float) -> None:
    """The chance of ever certifying the mean, by recursion over calls: misses so far, not certified yet."""
    looks = [calls * len(rows) for calls in range(1, 31)]
    most, call = beta_mixture.limits(float(rows.mean()), looks, alpha), hits_of_a_call(rows)[::-1]
    mass, crossed = np.ones(1), 0.0
    for limit in most:
        mass = np.convolve(mass, call)
        crossed += mass[: limit + 1].sum()
        mass[: limit + 1] = 0
    assert crossed <= alpha


def by_row(images: Tensor) -> Tensor:
    """Class 0 in two rows of three, else class 1, for every image."""
    other = (torch.arange(len(images)) % 3 == 2).float()[:, None]
    return torch.cat([1 - other, other], 1)


@pytest.mark.parametrize("alpha", [0.01, 0.2])
def test_predictions_are_wrong_no_more_often_than_alpha(alpha: float) -> None:
    """Class 1 wins by a hair on average, class 0 in half of the rows by far."""
    rows = np.array([0.9, 0.09, 0.9, 0.09])
    smoothed = halfspace("gaussian:0.5", batch=4)
    object.__setattr__(smoothed.base, "positions", "mixture")
    mass = reduce(np.convolve, [hits_of_a_call(rows)] * 50)
    answers = [smoothed.decide(Counts(np.array([k, 200 - k, 0]), 200), alpha, 4) for k in range(201)]
    assert mass[np.array(answers) == 0].sum() <= alpha
    assert {ABSTAIN, 0, 1} == set(answers)


class ByRow(nn.Module):
    """A linear model whose logits depend on the row, by less than what is taken for rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + 1e-6 * torch.arange(len(x))[:, None]


def test_certificates_are_about_the_mixture() -> None:
    form, image = Form("float32", "contiguous", 30), torch.rand(1, 4, 4)
    smoothed = smooth(by_row, image[None], noise="gaussian:0.5", levels=255, classes=2, seed=0, form=form)
    assert smoothed.base.positions == "mixture"
    record = certify(smoothed, image, index=0, select_draws=100, draws=3_000, alpha=0.001)
    assert record["counts"] == [2_000, 1_000]
    assert record["p_lower"] <= 2 / 3


def test_settings_say_whether_rows_are_alike() -> None:
    data, form = [(torch.rand(1, 4, 4), 0)], Form("float32", "contiguous", 30)
    assert certified(ByRow().eval(), data, draws=300, form=form).settings["positions"] == "mixture"
    assert certified(ByRow().inner.eval(), data, draws=100, form=form).settings["positions"] == "alike"


def test_a_grid_takes_the_rule_that_fits_the_form() -> None:
    data, form = [(torch.rand(1, 4, 4), 0)], Form("float32", "contiguous", 30)
    for model, rule in ((ByRow(), "beta_mixture"), (ByRow().inner, "group_sequential")):
        options = {"radii": [0.0, 0.1], "draws": 3_000, "form": form}
        assert certified(model.eval(), data, **options).settings["budget"]["rule"] == rule
    with pytest.raises(UserError, match="give rule beta_mixture"):
        certified(ByRow().eval(), data, rule="group_sequential", **options)


@pytest.mark.parametrize("draws", [100, 1_000])
def test_draws_that_do_not_fill_the_rows_are_refused(draws: int) -> None:
    form = Form("float32", "contiguous", 30)
    with pytest.raises(UserError, match="give a multiple of 30"):
        certified(ByRow().eval(), [(torch.rand(1, 4, 4), 0)], draws=draws, form=form)
    with pytest.raises(UserError, match="give a multiple of 30"):
        attacked(
            ByRow().eval(), [(torch.rand(1, 4, 4), 0)], eps=0.1, noise="gaussian:0.5", predict_draws=draws, form=form
        )
    classifier = SmoothedClassifier(ByRow().eval(), "gaussian:0.5", 2, form=form)
    with pytest.raises(UserError, match="give a multiple of 30"):
        classifier.predict(torch.rand(1, 1, 4, 4), draws=draws)
    assert classifier.predict(torch.rand(1, 1, 4, 4), draws=900).tolist() in ([0], [1], [ABSTAIN])


def test_a_large_alpha_is_refused_where_rows_differ_and_would_prove_too_much() -> None:
    """One row always hits and one never does: half of the draws hit, and no chance is left to pay alpha with."""
    assert lower(10, 20, 0.7) > 0.5
    data, form = [(torch.rand(1, 4, 4), 0)], Form("float32", "contiguous", 30)
    for alpha in (0.25, 0.7):
        with pytest.raises(UserError, match=rf"^alpha is {alpha}, and the logits depend on the row.* below 1/4"):
            certified(ByRow().eval(), data, draws=300, alpha=alpha, form=form)
        with pytest.raises(UserError, match=rf"^predict_alpha is {alpha}"):
            attacked(
                ByRow().eval(), data, eps=0.1, noise="gaussian:0.5", predict_draws=300, predict_alpha=alpha, form=form
            )
        classifier = SmoothedClassifier(ByRow().eval(), "gaussian:0.5", 2, form=form)
        for call in (classifier.predict, classifier.certify):
            with pytest.raises(UserError, match=rf"^alpha is {alpha}"):
                call(torch.rand(1, 1, 4, 4), draws=300, alpha=alpha)
    assert certified(ByRow().inner.eval(), data, draws=300, alpha=0.25, form=form).settings["alpha"] == 0.25


@pytest.mark.parametrize("shift", [0.0, 1e-6])
def test_a_served_grid_is_decided_by_a_rule_that_holds_for_its_rows(shift: float) -> None:
    form, radii = Form("float32", "contiguous", 30), [0.0, 0.1]
    model = ByRow().eval() if shift else ByRow().inner.eval()
    classifier = SmoothedClassifier(model, "gaussian:0.5", 2, form=form, seed=0)
    images = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    found = classifier.certify(images, radii, draws=3_000)
    looks = [draws for record in found.records for draws, _ in record["looks"]]
    assert all(draws % 30 == 0 for draws in looks) == bool(shift)
    for record in found.records:
        rule = beta_mixture if shift else group_sequential
        draws, hits = zip(*record["looks"], strict=True)
        whole = schedule(3_000, 30, step=30) if shift else schedule(3_000)
        at_half = rule.limits(0.5, whole, 0.001)
        assert draws == whole[: len(draws)]
        assert record["p_lower"] == 0 or any(n - k <= most for n, k, most in zip(draws, hits, at_half, strict=False))
    if shift:
        with pytest.raises(UserError, match="give rule beta_mixture"):
            classifier.certify(images, radii, draws=3_000, rule="group_sequential")
        with pytest.raises(UserError, match="give a multiple of 30"):
            classifier.certify(images, radii, draws=1_000)
