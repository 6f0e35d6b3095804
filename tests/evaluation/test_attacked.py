"""Accuracy under attack: settings complete, judged anew, resumed to the bit, smoothed by composition."""

from copy import deepcopy
from functools import partial

import pytest
import torch

from gambeson.errors import UserError
from gambeson.evaluation import attacked, clean, diagnosed
from gambeson.evaluation.attacked import attacked as evaluate
from gambeson.geometry import distance
from gambeson.models import BlackBox
from gambeson.schema import check_record, check_settings
from gambeson.types import NORMS

NOISE = {"noise": "gaussian:0.2", "attack_draws": 4, "predict_draws": 200}


def accuracy(records) -> float:
    return sum(r["correct"] for r in records) / len(records)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"norm": "l2", "eps": 1.0}, {"norm": "l1", "eps": 4.0}, {"attack": "fgsm"}, {"eps": 0.0},
        {"attack": "fgsm", "eps": 0.0}, {"targeted": "random"}, {"targeted": "least_likely"}, NOISE,
        {"attack": "fgsm", **NOISE}, {"restarts": 2, "loss": "margin", "step_rule": "adam"}, {"random_start": False},
    ],
    ids=str,
)  # fmt: skip
def test_settings_and_records_are_complete(trained, options) -> None:
    kept = []
    options = {"eps": 0.1, **({} if options.get("attack") == "fgsm" else {"steps": 4}), **options}
    evaluation = attacked(trained.model, trained.data, **options, keep=lambda *batch: kept.append(batch))
    settings = check_settings("attacked", evaluation.settings)
    assert settings["target"] == ("smoothed" if "noise" in options else "base")
    assert (settings["form"] is None) == ("noise" not in options)
    records = list(evaluation)
    indices, x, x_adv = (torch.cat(parts) for parts in zip(*kept, strict=True))
    assert indices.tolist() == [r["index"] for r in records]
    assert torch.equal(x, trained.data.pixels())
    measured = distance(x_adv.double() - x.double(), settings["norm"])
    assert [r["distance"] for r in records] == measured.tolist()
    for norm in NORMS:
        assert [r["distances"][norm] for r in records] == distance(x_adv.double() - x.double(), norm).tolist()
    assert (measured <= options["eps"]).all()
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    for record in records:
        check_record("attacked", {"evaluation": "x", **record})
        assert record["correct"] == (record["predict"] == record["label"])
        assert (record["target"] is None) == ("targeted" not in options)
    if "noise" not in options:  # judged anew on what is returned
        with torch.no_grad():
            assert [r["predict"] for r in records] == trained.model(x_adv).argmax(1).tolist()
        if "targeted" not in options:
            assert [r["success"] for r in records] == [not r["correct"] for r in records]
        else:
            assert [r["success"] for r in records] == [r["predict"] == r["target"] for r in records]


@pytest.mark.parametrize("attack", ["pgd", "fgsm"])
def test_no_room_gives_the_natural_accuracy(trained, attack) -> None:
    records = list(attacked(trained.model, trained.data, eps=0.0, attack=attack))
    natural = list(clean(trained.model, trained.data))
    assert [r["predict"] for r in records] == [r["predict_clean"] for r in records] == [r["predict"] for r in natural]
    assert not any(r["distance"] for r in records)


def test_accuracy_falls_with_eps_and_steps(trained) -> None:
    curve = [accuracy(list(attacked(trained.model, trained.data, eps=eps))) for eps in (0, 0.05, 0.1, 0.2, 1)]
    assert curve == sorted(curve, reverse=True)
    assert curve[-1] == 0
    one = accuracy(list(attacked(trained.model, trained.data, eps=0.1, attack="fgsm")))
    assert curve[2] <= one


def test_what_fgsm_is_told_is_what_it_does(trained) -> None:
    """A step size is used; a step rule, which it does not have, is refused."""
    with pytest.raises(UserError, match="fgsm has no option step_rule"):
        attacked(trained.model, trained.data, eps=0.2, attack="fgsm", step_rule="adam")
    evaluation = attacked(trained.model, trained.data, eps=0.2, attack="fgsm", step_size=0.05)
    assert (evaluation.settings["step_size"], evaluation.settings["step_rule"], evaluation.settings["steps"]) == (
        0.05,
        "sign",
        1,
    )
    assert max(record["distance"] for record in evaluation) == pytest.approx(0.05, rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"restarts": 2}, {"targeted": "random"}, NOISE], ids=str)
@pytest.mark.parametrize("cut", [1, 16, 30])
def test_resumed_records_are_the_same(trained, without_seconds, options, cut) -> None:
    def begin():
        return evaluate(trained.model, trained.data, eps=0.1, steps=3, batch=16, **options)

    whole = without_seconds(begin())
    done = {record["index"] for record in whole[:cut]}
    assert without_seconds(begin().records(done)) == whole[cut:]


@pytest.fixture(scope="module")
def other(trained):
    """A classifier of its own that agrees with the trained one on most images."""
    net = deepcopy(trained.model)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        for weight in net.parameters():
            weight += 0.05 * torch.randn_like(weight)
    return net


OTHERS = [
    {"attack": "weak", "eps": 0.1}, {"attack": "standard", "eps": 0.1, "share": 0.03}, {"attack": "ddn", "norm": "l2"},
    {"attack": "transfer", "eps": 0.1, "steps": 3}, {"attack": "weak", "eps": 0.1, **NOISE},
    {"eps": 0.1, "steps": 3, "redraw": True, **NOISE}, {"attack": "ddn", "norm": "l2", "steps": 5, **NOISE},
    {"eps": 0.5, "norm": "l2", "steps": 3, "gradient": "stein", **NOISE},
]  # fmt: skip


@pytest.mark.parametrize("options", OTHERS, ids=str)
def test_suites_and_searches_are_resumed_too(trained, other, without_seconds, options) -> None:
    """Every image's own worst case, its company being whoever is in its batch."""
    source = {"source": other} if options.get("attack") == "transfer" else {}

    def begin():
        return evaluate(trained.model, trained.data.subset(range(24)), batch=8, **options, **source)

    whole = without_seconds(begin())
    for record in whole:
        check_record("attacked", {"evaluation": "x", "seconds": 0.0, **record})
    assert without_seconds(begin().records({record["index"] for record in whole[:10]})) == whole[10:]


def test_points_are_judged_once_more_as_images(trained) -> None:
    kept = []
    evaluation = attacked(trained.model, trained.data, eps=0.05, keep=lambda *batch: kept.append(batch))
    records = list(evaluation)
    x_adv = torch.cat([batch[2] for batch in kept])
    with torch.no_grad():
        wanted = trained.model((x_adv * 255).round() / 255).argmax(1).tolist()
    assert [record["predict_rounded"] for record in records] == wanted
    assert "predict_rounded" not in next(iter(attacked(trained.model, trained.data, eps=0.0, **NOISE)))


def test_scores_are_enough_for_gradients_of_the_smoothed_classifier(trained) -> None:
    """Stein's estimator is for classifiers that have no gradient: attacks and suites run on them whole."""
    box = BlackBox(lambda images: trained.model(torch.from_numpy(images)).detach().numpy(), identity="box")
    data, law = trained.data.subset(range(12)), {**NOISE, "attack_draws": 64, "eps": 1.5, "norm": "l2"}
    with pytest.raises(UserError, match="carry no gradient"):
        attacked(box, data, **law)
    found = list(attacked(box, data, gradient="stein", **law))
    assert sum(record["success"] for record in found) > 6
    suite = attacked(box, data, attack="standard", gradient="stein", **law)
    assert [member["name"] for member in suite.settings["members"]] == ["apgd_ce", "apgd_t", "fab_t", "square"]


def test_images_of_the_model_itself_are_no_transfer(trained) -> None:
    for same in (trained.model, deepcopy(trained.model)):
        with pytest.raises(UserError, match="source is the model itself"):
            attacked(trained.model, trained.data, eps=0.1, attack="transfer", source=same)


def test_the_smoothed_classifier_is_what_is_attacked(trained) -> None:
    """Under attack it is right no more often; and an attack that sees the noise hurts it more than no attack."""
    data = trained.data.subset(range(30))
    options = {"norm": "l2", "noise": "gaussian:0.3", "attack_draws": 8, "predict_draws": 300}
    none = list(attacked(trained.model, data, eps=0.0, **options))
    some = list(attacked(trained.model, data, eps=1.5, steps=10, **options))
    assert all(r["correct"] == (r["predict_clean"] == r["label"]) for r in none)
    assert [r["predict_clean"] for r in none] == [r["predict_clean"] for r in some]
    assert accuracy(none) > 0.7
    assert accuracy(some) < accuracy(none) - 0.3


def test_an_attack_on_the_smoothed_classifier_goes_on_past_its_first_success(trained) -> None:
    """Fooling 8 draws is not fooling the vote: stopping there leaves the image on the boundary of those draws."""
    data = trained.data.subset(range(60))
    options = {"eps": 1.0, "norm": "l2", "steps": 10, **NOISE, "attack_draws": 8, "predict_draws": 300}
    whole, stopped = attacked(trained.model, data, **options), attacked(trained.model, data, early_stop=True, **options)
    assert [e.settings["early_stop"] for e in (whole, stopped)] == [False, True]
    assert attacked(trained.model, data, eps=0.1).settings["early_stop"] is True
    spared = [sum(r["success"] and r["predict"] in (-1, r["label"]) for r in e) for e in (whole, stopped)]
    assert spared[0] < spared[1] / 2, spared
    assert accuracy(list(whole)) <= accuracy(list(stopped))


def test_abstentions_are_not_correct(trained) -> None:
    records = list(attacked(trained.model, trained.data, eps=0.6, norm="l2", **{**NOISE, "predict_draws": 20}))
    abstained = [r for r in records if r["predict"] == -1]
    assert abstained
    assert not any(r["correct"] for r in abstained)


def test_the_suite_for_what_answers_differently_sees_new_draws(trained) -> None:
    """As far as the vote goes, it finds what the same suite finds under draws that stay, nearly."""
    part = trained.data.every(1, 16)
    found = {
        redraw: attacked(trained.model, part, attack="rand", norm="l2", eps=0.8, redraw=redraw, **NOISE)
        for redraw in (True, False)
    }
    assert [evaluation.settings["redraw"] for evaluation in found.values()] == [True, False]
    losses, fell = zip(
        *(
            ([r["loss"] for r in records], sum(not r["correct"] for r in records))
            for records in map(list, found.values())
        ),
        strict=True,
    )
    assert losses[0] != losses[1]
    assert abs(fell[0] - fell[1]) <= 3
    assert min(fell) > 0


def test_the_model_is_left_as_it_was_found(trained) -> None:
    before = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    required = [p.requires_grad for p in trained.model.parameters()]
    state = torch.random.get_rng_state()
    list(attacked(trained.model, trained.data, eps=0.1, steps=2, **NOISE))
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.model.state_dict().items())
    assert [p.requires_grad for p in trained.model.parameters()] == required
    assert all(p.grad is None for p in trained.model.parameters())
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": -0.1}, "eps is -0.1"),
        ({"eps": float("nan")}, "eps is nan"),
        ({"eps": 8}, "write 8/255, not 8"),
        ({"norm": "l3"}, "norm is 'l3'"),
        ({"attack": "pdg"}, "attack is 'pdg'; did you mean pgd"),
        ({"targeted": "given"}, "random or least_likely"),
        ({"noise": "gaussian"}, "noise"),
        ({"loss": "hinge"}, "loss"),
        ({"step_rule": "newton"}, "step_rule"),
        ({"steps": 0}, "steps"),
        ({"restarts": 0}, "restarts"),
        ({"step_size": -1.0}, "step_size"),
        ({"noise": "gaussian:0.2", "attack_draws": 0}, "attack_draws"),
        ({"noise": "gaussian:0.2", "predict_draws": 0}, "predict_draws"),
        ({"noise": "gaussian:0.2", "predict_alpha": 1.5}, "predict_alpha"),
        ({"noise": "gaussian:0.2", "predict_draws": 10}, "would abstain; give predict_draws >= 11"),
        ({"restarts": 3, "random_start": False}, "turn random_start on"),
        ({"attack": "fgsm", "restarts": 5}, "fgsm takes one step"),
        ({"batch": 0}, "batch is 0"),
        ({"attack": "deepfool", "eps": None, "targeted": "random"}, "deepfool aims at no class: .* pgd, "),
        ({"attack": "multi_targeted", "targeted": "least_likely"}, "multi_targeted aims at no class"),
        ({"targeted": [0, 0]}, "an int64 tensor"),
        ({"order": "mean_of_log"}, "order is 'mean_of_log'.*give noise"),
        ({"redraw": True}, "redraw is True.*give noise"),
        ({"gradient": "stein"}, "gradient is 'stein'.*give noise"),
        ({"redraw": True, "attack": "square", **NOISE}, "redraw is for pgd"),
        ({"redraw": True, "attack": "standard", **NOISE}, "redraw is for pgd"),
        ({"redraw": True, "restarts": 2, **NOISE}, "from one start"),
        ({"order": "mean_of_log", "loss": "margin", **NOISE}, "order is mean_of_log"),
        ({"order": "mean_of_log", "attack": "boundary", "eps": None, "norm": "l2", **NOISE}, "order is mean_of_log"),
        ({"order": "mean_of_log", "attack": "pdg", **NOISE}, "attack is 'pdg'"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_before_anything_is_computed(trained, options, message) -> None:
    with pytest.raises(UserError, match=message):
        attacked(trained.model, trained.data, **{"eps": 0.1, **options})


@pytest.mark.parametrize("evaluate", [partial(attacked, attack="strong"), diagnosed])
def test_a_source_without_a_gradient_is_refused_first(trained, evaluate) -> None:
    with pytest.raises(UserError, match="source has no gradient"):
        evaluate(trained.model, trained.data, eps=0.1, source=lambda x: trained.model(x).detach())


def test_given_targets_are_aimed_at_and_recorded(trained) -> None:
    targets = (trained.data.labels + 1) % 3
    evaluation = attacked(trained.model, trained.data, eps=0.5, steps=4, targeted=targets)
    assert check_settings("attacked", evaluation.settings)["targeted"] == "given"
    records = list(evaluation)
    assert [r["target"] for r in records] == targets.tolist()
    assert [r["success"] for r in records] == [r["predict"] == r["target"] for r in records]
    assert any(r["success"] for r in records)


def test_one_target_per_image(trained) -> None:
    with pytest.raises(UserError, match="give one per image"):
        attacked(trained.model, trained.data, eps=0.5, targeted=torch.tensor([1, 2]))
