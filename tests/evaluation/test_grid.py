"""A grid of radii over a data set: the same table as a fixed budget's, with fewer draws, resumed to the bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.evaluation import certified
from gambeson.reports.runs import answer
from gambeson.schema import check_record, check_settings
from gambeson.smoothed.rounding import lattice_distance

RADII = [0.0, 0.1, 0.2, 0.3]
SMALL = {"noise": "gaussian:0.2", "draws": 5_000, "select_draws": 50}


def counted(records: list[dict]) -> list[int]:
    return [sum(r["correct"] and r["radii"]["gaussian_l2"] >= radius for r in records) for radius in RADII]


def test_records_and_settings_are_complete(trained) -> None:
    data = trained.data.subset(range(20))
    evaluation = certified(trained.model, data, radii=RADII, price=1e5, **SMALL)
    settings = check_settings("certified", evaluation.settings)
    assert settings["budget"]["radii"] == RADII
    assert settings["budget"]["looks"][-1] == 5_000
    assert set(settings["max_radius"]) == {"gaussian_l2", "renyi_l2", "dp_l2"}
    for record in evaluation:
        check_record("certified", {"evaluation": "x", **record})
        assert sum(record["counts"]) == record["draws"] == record["looks"][-1][0]
        assert record["looks"][-1][1] == record["counts"][record["selected"]]
        assert (record["predict"] == -1) == (record["radii"]["gaussian_l2"] == 0) == (record["reason"] is not None)
        assert all(0 <= record["radii_real"][n] <= r <= settings["max_radius"][n] for n, r in record["radii"].items())


@pytest.mark.parametrize("rule", ["group_sequential", "beta_mixture"])
def test_the_table_is_that_of_a_fixed_budget(trained, rule) -> None:
    data = trained.data.subset(range(40))
    full = list(certified(trained.model, data, **SMALL))
    evaluation = certified(trained.model, data, radii=RADII, price=1e6, rule=rule, **SMALL)
    assert check_settings("certified", evaluation.settings)["budget"]["rule"] == rule
    grid = list(evaluation)
    assert [r["selected"] for r in grid] == [r["selected"] for r in full]
    assert all(abs(a - b) <= 1 for a, b in zip(counted(grid), counted(full), strict=True))
    assert sum(r["draws"] for r in grid) < 40 * 5_000 / 2


def test_company_and_resuming_change_nothing(trained, without_seconds) -> None:
    options = {"radii": RADII, "price": 1e5, **SMALL}
    whole = without_seconds(certified(trained.model, trained.data.subset(range(40)), **options))
    done = {whole[row]["index"] for row in (0, 5, 35)}
    rest = without_seconds(certified(trained.model, trained.data.subset(range(40)), **options).records(done))
    assert rest == [record for record in whole if record["index"] not in done]
    alone = without_seconds(certified(trained.model, trained.data.subset([7]), **options))
    assert alone == whole[7:8]


def test_wrong_images_can_be_left_alone(trained) -> None:
    data = trained.data.subset(range(40))
    options = {"radii": RADII, "price": 1e5, **SMALL, "noise": "gaussian:1"}
    whole = list(certified(trained.model, data, **options))
    left = list(certified(trained.model, data, stop_wrong=True, **options))
    wrong = [r["selected"] != r["label"] for r in whole]
    assert any(wrong)
    assert counted(left) == counted(whole)
    assert [r["stopped"] == "wrong" for r in left] == wrong
    assert all(r["draws"] == 0 for r, w in zip(left, wrong, strict=True) if w)
    assert all(answer(r, "gaussian_l2") == r["selected"] for r, w in zip(left, wrong, strict=True) if w)
    assert all("wrong" in r["reason"] for r, w in zip(left, wrong, strict=True) if w)


def test_a_radius_out_of_reach_is_refused_before_anything_is_drawn(trained) -> None:
    with pytest.raises(UserError, match=r"radius 0\.9 is out of reach of 5000 draws"):
        certified(trained.model, trained.data, radii=[0.0, 0.9], **SMALL)


def named(trained, name):
    return replace(trained.data.subset(range(2)), name=name)


@pytest.mark.parametrize("rule", ["group_sequential", "beta_mixture"])
@pytest.mark.parametrize(
    ("name", "draws", "more"), [("digits", 50, set()), ("mnist", 20_000, {1.58}), ("cifar10", 1_000, {36 / 255})]
)
def test_the_customary_grid_ends_where_unanimous_draws_do(trained, name, draws, more, rule) -> None:
    options = {"noise": "gaussian:0.5", "draws": draws, "rule": rule}
    evaluation = certified(trained.model, named(trained, name), radii="customary", **options)
    found = evaluation.settings["budget"]["radii"]
    candidates = sorted({0.25 * step for step in range(10)} | more)
    assert found == candidates[: len(found)]
    # P(all n hit) = t^n; the mixture asks for the mean of (theta / t)^n over theta in (t, 1) to be 1 / alpha.
    for radius in candidates:
        t = norm.cdf(radius / 0.5)
        with np.errstate(divide="ignore"):
            evidence = (1 - t ** (draws + 1)) / ((draws + 1) * (1 - t) * t**draws)
        reached = t**draws <= 0.001 if rule == "group_sequential" else evidence >= 1000
        assert (radius in found) == reached


def test_l1_has_no_radius_of_l2(trained) -> None:
    evaluation = certified(trained.model, named(trained, "mnist"), noise="laplace:1", radii="customary", draws=1_000)
    assert 1.58 not in evaluation.settings["budget"]["radii"]
    assert evaluation.settings["budget"]["radii"][-1] > 1.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radii": "customary"}, "blobs has no customary radii .mnist, .*: give radii"),
        ({"radii": "0,1"}, "radii is '0,1'; give numbers, 'customary'"),
        ({"radii": RADII, "rule": "pocock"}, "rule is 'pocock'; it must be one of group_sequential, beta_mixture"),
    ],
)
def test_what_is_no_grid_is_refused(trained, options, message) -> None:
    with pytest.raises(UserError, match=message):
        certified(trained.model, trained.data, **SMALL, **options)


def test_draws_that_certify_nothing_under_a_rule_are_refused(trained) -> None:
    """Ten of ten are enough for a fixed budget, not for a bound at any time."""
    options = {"radii": "customary", "noise": "gaussian:0.5", "draws": 11}
    assert certified(trained.model, named(trained, "digits"), **options).settings["budget"]["radii"] == [0.0]
    with pytest.raises(UserError, match="even if all agreed, beta_mixture would certify no radius"):
        certified(trained.model, named(trained, "digits"), rule="beta_mixture", **options)


def test_radii_of_float_images_are_around_the_images() -> None:
    """The classifier rounds them; what that moved them comes off, and images certify the grid's radii all the same."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([-torch.ones(16), torch.ones(16)]))
        model[1].bias.copy_(torch.tensor([8.0, -8.0]))  # the boundary: a mean of 1/2, in l2 at 4 |mean - 1/2|
    images = (
        torch.full((12, 1, 4, 4), 0.5) + 0.02 * torch.arange(-6, 6)[:, None, None, None] + torch.rand(12, 1, 4, 4) / 255
    )
    data = Dataset("floats", "test", images, torch.tensor([0] * 6 + [1] * 6), None, ("dark", "light"), torch.arange(12))
    distance = 4 * (images.double().mean((1, 2, 3)) - 0.5).abs()
    evaluation = certified(model.eval(), data, noise="gaussian:0.2", radii=RADII, draws=5_000)
    moved = [lattice_distance(image, 255)["l2"] for image in images]
    assert min(moved) > 0.001
    found = list(evaluation)
    for record, truth, own in zip(found, distance.tolist(), moved, strict=True):
        radius = record["radii"]["gaussian_l2"]
        assert radius <= truth
        if radius:
            assert min(abs(radius - each - (max(moved) - own)) for each in RADII) < 1e-9
    assert sum(record["radii"]["gaussian_l2"] >= 0.2 for record in found) >= 4
