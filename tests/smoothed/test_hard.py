"""The certified classifier: half-spaces, whose smoothed boundary is known, and mutants of the procedure."""

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
import torch
from halfspaces import FALSE_ALARM, LEVELS, ONE, certify, halfspace, image_at
from scipy.stats import binom, norm
from torch import Tensor

from gambeson import sampling
from gambeson.certificates import CERTIFICATES
from gambeson.inference import Form, serve
from gambeson.noise import lattice, parse
from gambeson.sampling import Counts
from gambeson.smoothed import company, hard
from gambeson.smoothed.hard import Smoothed, shift
from gambeson.smoothed.procedure import ABSTAIN
from gambeson.smoothed.rounding import lattice_distance, rounding_distance
from gambeson.stats import lower, top_and_rest


def violations(
    smoothed: Smoothed, pixels: Tensor, distance: float, name: str, count: int, alpha: float, **draws
) -> int:
    """How many of `count` independent certificates claim more than the distance to the boundary."""
    radii = []
    for index in range(count):
        record = certify(smoothed, pixels, index=index, alpha=alpha, **draws)
        radii.append(record["radii"][name] if record["selected"] == 1 and record["predict"] != ABSTAIN else 0.0)
    return int((np.array(radii) > distance).sum())


@pytest.mark.usefixtures("tight_only")
@pytest.mark.parametrize("distance", [0.05, 0.3])
def test_gaussian_radii_exceed_the_distance_no_more_often_than_alpha(distance: float) -> None:
    pixels, threshold = image_at(distance)
    found = violations(
        halfspace("gaussian:0.25", threshold=threshold), pixels, distance, "gaussian_l2", 150, 0.1,
        select_draws=20, draws=2000,
    )  # fmt: skip
    assert found <= binom.isf(FALSE_ALARM, 150, 0.1)


@pytest.mark.parametrize(
    ("noise", "name"),
    [("gaussian:0.25", "gaussian_l2"), ("laplace:0.2", "laplace_l1"), ("uniform:0.5", "uniform_l1")],
)
def test_radii_approach_the_distance(noise: str, name: str) -> None:
    """Tight certificates of a half-space: with many draws, what is lost is the interval's width alone."""
    smoothed = halfspace(noise, ONE, 90.5 / 255)
    record = certify(smoothed, torch.full((1, 1, 1), 128 / 255), index=0, select_draws=100, draws=200_000, alpha=0.001)
    assert 37.5 / 255 * 0.94 < record["radii"][name] <= 37.5 / 255


def behind_normalisation(noise_after: bool) -> float:
    """The radius of a half-space 0.15 away, behind a layer (x - 0.5) / 0.25."""
    pixel, edge = 128 / 255, 128 / 255 - 0.15

    def model(x: Tensor) -> Tensor:
        first = torch.full_like(x, pixel) if noise_after else x
        z = (first - 0.5) / 0.25 + (x - pixel if noise_after else 0)
        side = z.flatten(1)[:, 0] - (edge - 0.5) / 0.25
        return torch.stack([-side, side], 1)

    served = serve(model, Form("float32", "contiguous", 200))
    smoothed = Smoothed(served, lattice(parse("gaussian:0.25"), LEVELS), 2)
    pixels = torch.full((1, 1, 1), pixel)
    return float(
        certify(smoothed, pixels, index=0, select_draws=100, draws=20_000, alpha=0.001)["radii"]["gaussian_l2"]
    )


def test_noise_and_radii_are_in_pixel_units_before_normalisation() -> None:
    assert 0.13 < behind_normalisation(noise_after=False) <= 0.15 + 0.5 / LEVELS


def test_mutant_noise_added_after_normalisation_is_noticed() -> None:
    assert behind_normalisation(noise_after=True) > 0.3


def fair(seed: int = 0) -> Smoothed:
    """Two classes at 1/2 each, by symmetry: the sign of one pixel's noise less another's; two more break ties."""

    def model(x: Tensor) -> Tensor:
        cells = (x * LEVELS).round().flatten(1)
        side = (cells[:, 1] - cells[:, 0]) * 4096 + (cells[:, 3] - cells[:, 2]) + 0.25
        return torch.stack([-side, side], 1)

    return Smoothed(serve(model, Form("float32", "contiguous", 200)), lattice(parse("gaussian:0.5"), LEVELS), 2, seed)


def certified_share(smoothed: Smoothed, count: int, alpha: float) -> int:
    pixels = torch.full((1, 2, 2), 0.4)
    return sum(
        certify(smoothed, pixels, index=i, select_draws=200, draws=200, alpha=alpha)["predict"] != ABSTAIN
        for i in range(count)
    )


@pytest.mark.usefixtures("tight_only")
def test_where_there_is_no_majority_certificates_are_as_rare_as_alpha() -> None:
    assert certified_share(fair(), 300, 0.2) <= binom.isf(FALSE_ALARM, 300, 0.2)


@pytest.mark.usefixtures("tight_only")
def test_mutant_doubled_alpha_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hard, "lower", lambda k, n, alpha: lower(k, n, 2 * alpha))
    assert certified_share(fair(), 300, 0.2) > binom.isf(FALSE_ALARM, 300, 0.2)


@pytest.mark.usefixtures("tight_only")
def test_mutant_selection_sample_reused_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    request = Smoothed.request
    monkeypatch.setattr(
        Smoothed,
        "request",
        lambda self, pixels, index, ask, purpose="certify": request(
            self, pixels, index, ask._replace(stage="estimate"), purpose
        ),
    )
    assert certified_share(fair(), 300, 0.2) > binom.isf(FALSE_ALARM, 300, 0.2)


def test_selection_and_estimation_see_different_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, sampled = [], sampling.counts

    def counts(served, requests, **options):
        seen.extend(request.key for request in requests)
        return sampled(served, requests, **options)

    monkeypatch.setattr(hard, "counts", counts)
    monkeypatch.setattr(company, "counts", counts)
    record = certify(fair(), torch.full((1, 2, 2), 0.4), index=3, select_draws=200, draws=200, alpha=0.1)
    fair().predict(torch.full((1, 2, 2), 0.4), index=3, draws=200, alpha=0.1)
    assert len(set(seen)) == 3
    assert record["select_counts"] != record["counts"]


def test_a_record_is_a_function_of_its_counts() -> None:
    """The bounds by their definitions: alpha whole for the one-sided bound, split once for the two-sided pair."""
    pixels, threshold = image_at(0.2)
    smoothed = halfspace("gaussian:0.25", threshold=threshold)
    record = certify(smoothed, pixels, index=5, select_draws=50, draws=1000, alpha=0.01)
    tau = smoothed.tau(16)
    k = record["counts"][1]
    assert record["selected"] == int(np.argmax(record["select_counts"])) == 1
    assert (sum(record["select_counts"]), sum(record["counts"]), record["nonfinite"]) == (50, 1000, 0)
    assert 0 < lower(k, 1000, 0.01) - tau - record["p_lower"] < 1e-15
    low, high = top_and_rest(record["counts"], 1, 0.01)
    assert record["p_lower_two_sided"] < low - tau * 0.99
    assert (
        record["p_upper_two_sided"] > high + tau * 0.99
        or record["p_upper_two_sided"] == 1 - record["p_lower_two_sided"]
    )
    assert set(record["radii"]) == {n + s for n in ("gaussian_l2", "renyi_l2", "dp_l2") for s in ("", "_two_sided")}
    for name in ("gaussian_l2", "renyi_l2", "dp_l2"):
        radius = CERTIFICATES[name].radius
        assert record["radii"][name] == radius(record["p_lower"], None, 0.25)
        pair = record["p_lower_two_sided"], record["p_upper_two_sided"]
        assert record["radii"][name + "_two_sided"] == radius(*pair, 0.25)
    assert record["radii"]["gaussian_l2"] >= record["radii"]["renyi_l2"]
    assert record["radii"]["gaussian_l2"] <= 0.25 * norm.ppf(record["p_lower"]) * (1 + 1e-12)


def test_tau_grows_with_the_image_and_goes_against_us() -> None:
    smoothed = fair()
    assert smoothed.tau(784) >= 784 * smoothed.noise.tau
    assert smoothed.tau(4) < smoothed.tau(784) < 1e-7
    for p in (0.0, 1e-300, 0.3, 0.5, 0.999, 1.0):
        assert 0 <= shift(p, -1e-9) < max(p, 1e-320)
        assert min(1.0, p + 1e-9) <= shift(p, 1e-9) <= 1
        assert shift(p, -0.0) <= p


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 2, 2)])
def test_real_radii_lose_the_rounding_distance(shape: tuple[int, ...]) -> None:
    values = int(np.prod(shape))
    weights = torch.ones(values)
    smoothed = halfspace("gaussian:0.25", weights, 0.3 * values)
    pixels = torch.full(shape, 128 / 255)
    record = certify(smoothed, pixels, index=0, select_draws=50, draws=1000, alpha=0.01)
    lost = sqrt(values) / (2 * LEVELS)
    distance = rounding_distance(values, LEVELS)
    assert (distance["l2"], distance["l1"]) == pytest.approx((lost, values / (2 * LEVELS)), rel=1e-12)
    assert distance["l2"] >= lost
    for name, radius in record["radii"].items():
        pixels_in_float32 = 2.0**-25 * sqrt(values)
        assert record["radii_real"][name] == pytest.approx(max(0.0, radius - lost - pixels_in_float32), rel=1e-9)
    off = certify(smoothed, pixels + 0.3 / LEVELS, index=0, select_draws=50, draws=1000, alpha=0.01)
    assert off["counts"] == record["counts"]  # the same lattice point
    moved = 0.3 / LEVELS * sqrt(values)
    for kind in ("radii", "radii_real"):
        assert off[kind]["gaussian_l2"] == pytest.approx(record[kind]["gaussian_l2"] - moved, abs=1e-6)


def test_abstention_has_its_reason_and_no_radius() -> None:
    record = certify(fair(), torch.full((1, 2, 2), 0.4), index=0, select_draws=20, draws=100, alpha=0.001)
    assert (record["predict"], record["reason"]) == (ABSTAIN, "p_lower <= 1/2")
    assert record["selected"] in (0, 1)
    assert not any(record["radii"].values())
    assert not any(record["radii_real"].values())
    sure = certify(
        halfspace("gaussian:0.25", ONE, 0.0), torch.ones(1, 1, 1), index=0, select_draws=20, draws=100, alpha=0.001
    )
    assert (sure["predict"], sure["reason"], sure["counts"]) == (1, None, [0, 100, 0])


def test_draws_that_count_for_no_class_stay_in_the_denominator() -> None:
    def model(x: Tensor) -> Tensor:
        logits = torch.stack([x.flatten(1)[:, 0] * 0 + 1, x.flatten(1)[:, 0] * 0], 1)
        logits[::2] = float("nan")
        return logits

    smoothed = Smoothed(serve(model, Form("float32", "contiguous", 100)), lattice(parse("gaussian:1"), LEVELS), 2)
    record = certify(smoothed, torch.zeros(1, 1, 1), index=0, select_draws=100, draws=1000, alpha=0.001)
    assert (record["counts"], record["nonfinite"], record["predict"]) == ([500, 0], 500, ABSTAIN)
    assert record["p_lower"] < 0.5


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_predict_abstains_on_ties(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for top, runner_up, predicted in (
        (50, 50, ABSTAIN),
        (51, 49, ABSTAIN),
        (60, 40, ABSTAIN),
        (80, 20, 1),
        (0, 0, ABSTAIN),
    ):
        votes = np.zeros(classes, np.int64)
        votes[[1, 0]] = top, runner_up
        monkeypatch.setattr(hard, "counts", lambda *a, votes=votes, **kw: [Counts(votes, 100)])
        assert fair().predict(torch.zeros(1, 2, 2), index=0, draws=100, alpha=0.001)[0] == predicted


def test_predict_uses_the_exact_binomial_test(monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.stats import binomtest

    for top in range(50, 80):
        votes = np.array([100 - top, top])
        monkeypatch.setattr(hard, "counts", lambda *a, votes=votes, **kw: [Counts(votes, 100)])
        sure = fair().predict(torch.zeros(1, 2, 2), index=0, draws=100, alpha=0.01)[0] == 1
        assert sure == (binomtest(top, 100, 0.5).pvalue <= 0.01)


def test_predict_is_wrong_no_more_often_than_alpha() -> None:
    """At a tie every answer is wrong; the exact test's own level is 0.089 at 100 draws."""
    answers = [fair().predict(torch.full((1, 2, 2), 0.4), index=i, draws=100, alpha=0.1)[0] for i in range(500)]
    wrong = sum(answer != ABSTAIN for answer in answers)
    assert 10 < wrong <= binom.isf(FALSE_ALARM, 500, 0.1)


def test_draws_that_the_sampler_may_have_changed_are_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a tie, as a sampler that is off by 0.03 may show it: the test that takes draws as exact fails too often."""

    def wrong(alpha: float) -> float:
        answers = [fair().decide(Counts(np.array([100 - top, top]), 100), alpha, 4) for top in range(101)]
        return float(binom.pmf(np.arange(101), 100, 0.53)[np.array(answers) != ABSTAIN].sum())

    exact = wrong(0.05)
    monkeypatch.setattr(Smoothed, "tau", lambda self, values: 0.03)
    assert 0 < wrong(0.05) <= 0.05 < exact


def test_images_seeds_and_purposes_see_their_own_noise() -> None:
    pixels = torch.full((1, 2, 2), 0.4)
    kinds = [(0, 0, "predict"), (0, 1, "predict"), (1, 0, "predict"), (0, 0, "rejudge")]
    found = [
        fair(seed).predict(pixels, index=index, draws=2000, alpha=0.1, purpose=purpose)[1].classes.tolist()
        for seed, index, purpose in kinds
    ]
    assert len({tuple(classes) for classes in found}) == 4
    again = fair(0).predict(pixels, index=0, draws=2000, alpha=0.1)[1].classes.tolist()
    assert again == found[0]


def test_an_image_off_the_lattice_pays_for_the_lattice_points_own_rounding() -> None:
    """A hair above a lattice point as float32 has it, and farther from the point itself."""
    point = Fraction(128, LEVELS)
    off = torch.nextafter(torch.tensor(128 / LEVELS), torch.tensor(1.0))
    distance = abs(Fraction(float(off)) - point)
    values = 48
    found = lattice_distance(off.expand(3, 4, 4), LEVELS)
    assert found["l1"] >= values * distance
    assert Fraction(found["l2"]) ** 2 >= values * distance**2
    assert lattice_distance(torch.full((3, 4, 4), 128 / LEVELS), LEVELS) == {"l2": 0.0, "l1": 0.0}
