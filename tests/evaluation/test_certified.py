"""Certificates of a whole data set: settings complete, budgets that certify nothing refused, resumed to the bit."""

import copy

import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from gambeson.certificates import applicable, max_radius
from gambeson.errors import UserError
from gambeson.evaluation import attacked, certified, clean
from gambeson.inference import Form
from gambeson.schema import check_record, check_settings
from gambeson.smoothed.budgets import certify_budget, predict_budget
from gambeson.stats import largest_p_lower

SMALL = {"draws": 500, "select_draws": 20}


@pytest.mark.parametrize("noise", ["gaussian:0.2", "laplace:0.1", "uniform:0.25"])
def test_records_and_settings_are_complete_and_coherent(trained, noise) -> None:
    data = trained.data.subset(range(15))
    evaluation = certified(trained.model, data, noise=noise, **SMALL)
    settings = check_settings("certified", evaluation.settings)
    one_sided = {certificate.name for certificate in applicable(noise.split(":")[0])}
    names = one_sided | {name + "_two_sided" for name in one_sided}
    assert set(settings["max_radius"]) == names
    scale = float(noise.split(":")[1])
    records = list(evaluation)
    for record in records:
        check_record("certified", {"evaluation": "x", **record})
        assert set(record["radii"]) == set(record["radii_real"]) == names
        assert (sum(record["counts"]), sum(record["select_counts"])) == (500, 20)
        assert record["correct"] == (record["predict"] == record["label"])
        for name in names:
            assert 0 <= record["radii_real"][name] <= record["radii"][name] <= settings["max_radius"][name]
    for name in one_sided:
        assert settings["max_radius"][name] == max_radius(name, 500, 0.001, scale, settings["tau"])
    assert sum(record["correct"] for record in records) >= 10
    assert max(r["counts"][r["selected"]] for r in records) == 500  # so that the largest radius is reached
    for name in names:
        best = max(record["radii"][name] for record in records)
        assert best == pytest.approx(settings["max_radius"][name], rel=1e-9)  # reached, and never exceeded


@pytest.mark.parametrize("noise", ["gaussian:0.2", "laplace:0.15", "uniform:0.25"])
def test_soft_records_hold_scores_and_the_votes_of_the_same_draws(trained, without_seconds, noise) -> None:
    data = trained.data.subset(range(8))
    evaluation = certified(trained.model, data, noise=noise, smoothing="soft", **SMALL)
    settings = check_settings("certified", evaluation.settings)
    assert (settings["smoothing"], settings["score_bins"]) == ("soft", {"octaves": 20, "steps": 32})
    names = {certificate.name for certificate in applicable(noise.split(":")[0])}
    soft, hard = list(evaluation), list(certified(trained.model, data, noise=noise, **SMALL))
    for record, vote in zip(soft, hard, strict=True):
        check_record("certified", {"evaluation": "x", **record})
        assert set(record["radii"]) == set(settings["max_radius"]) == names
        assert all(record["radii"][name] <= settings["max_radius"][name] for name in names)
        assert sum(record["scores"]) == 500
        assert [record[field] for field in ("selected", "select_counts", "counts")] == [
            vote[field] for field in ("selected", "select_counts", "counts")
        ]
    assert sum(record["correct"] for record in soft) >= 5
    again = certified(trained.model, data, noise=noise, smoothing="soft", **SMALL).records({soft[0]["index"]})
    assert without_seconds(again) == without_seconds(soft[1:])


def test_the_settings_of_the_vote_say_nothing_of_soft_smoothing(trained) -> None:
    """An evaluation's id is a hash of its settings: those recorded before must still be found."""
    settings = check_settings("certified", certified(trained.model, trained.data, **SMALL).settings)
    assert "smoothing" not in settings
    assert "score_bins" not in settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smoothing": "sotf"}, "smoothing is 'sotf'; it must be hard"),
        ({"smoothing": "soft", "radii": [0.0, 0.1]}, "fixed number of draws"),
        ({"smoothing": "soft", "draws": 11}, "even if all scores were 1, nothing could be certified; give draws >= 12"),
    ],
)
def test_what_soft_smoothing_cannot_do_is_refused(trained, options, message) -> None:
    with pytest.raises(UserError, match=message):
        certified(trained.model, trained.data, **{"draws": 500, **options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"price": 1e6}, "without radii every image gets the same number of draws: leave price out"),
        ({"rule": "beta_mixture", "stop_wrong": True}, "same number of draws: leave rule, stop_wrong out"),
        ({"smoothing": "soft", "price": 1e6}, "fixed number of draws: leave price out"),
        ({"radii": [0.0, 0.1], "table_error": 0.1, "price": 1e6}, "where draws go: leave price out"),
    ],
)
def test_what_would_be_ignored_is_refused(trained, options, words) -> None:
    with pytest.raises(UserError, match=words):
        certified(trained.model, trained.data, **SMALL, **options)


def test_a_form_that_changes_the_model_is_refused(trained) -> None:
    """Its forward hook is dropped where batch normalisation is folded."""
    model = copy.deepcopy(trained.model)
    model.register_forward_hook(lambda module, inputs, output: output + 0.5 * output.flip(1))
    with pytest.raises(UserError, match="not eligible: its logits are off those of the model in float32 by"):
        certified(model, trained.data, form=Form(folded=True), **SMALL)
    assert certified(model, trained.data, form=Form(), **SMALL).settings["form"]["folded"] is False


@pytest.mark.parametrize("cut", [1, 4])
def test_resumed_records_are_the_same(trained, without_seconds, cut) -> None:
    data = trained.data.subset(range(6))
    whole = without_seconds(certified(trained.model, data, noise="uniform:0.4", **SMALL))
    done = {record["index"] for record in whole[:cut]}
    assert without_seconds(certified(trained.model, data, noise="uniform:0.4", **SMALL).records(done)) == whole[cut:]


def test_an_images_record_does_not_depend_on_the_others(trained, without_seconds) -> None:
    """Its noise is keyed by its stable index, not by its place."""
    whole = without_seconds(certified(trained.model, trained.data.subset([3, 4, 5]), noise="uniform:0.4", **SMALL))
    alone = without_seconds(certified(trained.model, trained.data.subset([4]), noise="uniform:0.4", **SMALL))
    assert alone == whole[1:2]


def test_the_batch_of_the_form_changes_no_count(trained, without_seconds) -> None:
    """With a model whose arithmetic is exact."""

    class Exact(nn.Module):
        def forward(self, x):
            cells = (x * 255).round().flatten(1)
            return torch.stack([cells[:, 0], cells[:, 1], cells[:, 2]], 1)

    data = trained.data.subset(range(4))
    forms = [Form("float32", "contiguous", batch) for batch in (100, 200, 300, 700)]
    found = [
        without_seconds(certified(Exact().eval(), data, noise="uniform:0.4", form=form, **SMALL)) for form in forms
    ]
    assert all(records == found[0] for records in found)


@pytest.mark.parametrize(
    ("draws", "select_draws", "alpha", "message"),
    [
        (9, 100, 0.001, "nothing could be certified; give draws >= 10"),
        (10, 100, 2**-10, "give draws >= 11"),
        (0, 100, 0.001, "give draws >= 10"),
        (-5, 100, 0.5, "give draws >= 2"),
        (1, 100, 0.5, "give draws >= 2"),
        (100, 0, 0.001, "select_draws is 0"),
        (100, 100, 0.0, "strictly between"),
        (100, 100, 1.0, "strictly between"),
        (100, 100, float("nan"), "strictly between"),
    ],
)
def test_budgets_that_certify_nothing_are_refused(trained, draws, select_draws, alpha, message) -> None:
    with pytest.raises(UserError, match=message):
        certified(trained.model, trained.data, draws=draws, select_draws=select_draws, alpha=alpha)


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01, 0.001, 1e-6])
def test_budgets_are_refused_exactly_where_unanimous_draws_certify_nothing(alpha) -> None:
    for draws in range(1, 25):
        if largest_p_lower(draws, alpha) > 0.5:
            certify_budget(draws, 1, alpha)
        else:
            with pytest.raises(UserError, match="give draws"):
                certify_budget(draws, 1, alpha)


@pytest.mark.parametrize("noise", ["gauss:0.5", "gaussian", "gaussian:0"])
def test_unknown_noises_are_refused(trained, noise) -> None:
    with pytest.raises(UserError, match="noise"):
        certified(trained.model, trained.data, noise=noise)


class Subtly(nn.Module):
    """Rows that mix below the tolerance of the guards, in the last bits."""

    def __init__(self, inner) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) * (1 + 1e-5 * x.mean())


def test_a_form_whose_rows_are_not_independent_is_refused(trained) -> None:
    model = Subtly(trained.model).eval()
    assert clean(model, trained.data).flags == []
    with pytest.raises(UserError, match=r"not eligible.*other rows"):
        certified(model, trained.data)
    with pytest.raises(UserError, match="not eligible"):
        attacked(model, trained.data, eps=0.1, noise="gaussian:0.2")


def test_certified_radii_hold_under_attack(trained) -> None:
    """The order that must hold: no attack on the same smoothed classifier inside the radius changes the class."""
    data = trained.data.subset(range(20))
    sure = {r["index"]: r for r in certified(trained.model, data, noise="gaussian:0.2", draws=2000, select_draws=50)}
    options = {"norm": "l2", "steps": 5, "attack_draws": 8, "predict_draws": 500}
    found = list(attacked(trained.model, data, eps=0.15, noise="gaussian:0.2", **options))
    inside = [r for r in found if r["distance"] < sure[r["index"]]["radii_real"]["gaussian_l2"]]
    assert len(inside) >= 10
    assert all(r["predict"] in (-1, sure[r["index"]]["selected"]) for r in inside)


@pytest.mark.parametrize("alpha", [0.5, 0.1, 0.01, 0.001])
def test_predictions_are_refused_exactly_where_unanimous_draws_abstain(alpha) -> None:
    for draws in range(1, 15):
        if binomtest(draws, draws, 0.5).pvalue < alpha:  # a little of alpha is the sampler's
            predict_budget(draws, alpha)
        else:
            with pytest.raises(UserError, match="give predict_draws"):
                predict_budget(draws, alpha)


class Views(nn.Module):
    """A model that flattens by `.view`, as many do: a channels_last activation cannot be viewed so."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.last = nn.Conv2d(1, 2, 3), nn.Linear(2 * 2 * 2, 3)

    def forward(self, x):
        return self.last(self.features(x).view(-1, 8))


def test_a_form_that_the_model_cannot_run_is_refused_with_the_one_that_it_can() -> None:
    data = [(torch.rand(1, 4, 4), label % 3) for label in range(3)]
    with pytest.raises(UserError, match="--memory contiguous for a model that calls"):
        certified(Views().eval(), data, noise="gaussian:0.2", form=Form(memory="channels_last"), **SMALL)
    chosen = certified(Views().eval(), data, noise="gaussian:0.2", **SMALL)
    assert chosen.settings["form"]["memory"] == "contiguous"
    assert len(list(chosen)) == 3
