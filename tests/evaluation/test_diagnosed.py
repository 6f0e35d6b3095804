"""A diagnosis: complete records, the same however the images are split, and each field what it says."""

from math import inf

import pytest
import torch

from gambeson.attacks import fgsm, pgd, square
from gambeson.errors import UserError
from gambeson.evaluation import diagnosed
from gambeson.evaluation.diagnosed import diagnosed as evaluate
from gambeson.evaluation.probes import MULTIPLES, Budget
from gambeson.keys import key
from gambeson.models import BlackBox, frozen
from gambeson.schema import check_record, check_settings
from gambeson.types import Ball

QUICK = Budget(steps=40, restarts=3, restart_steps=10, queries=150, noise_draws=50, directions=5,
               linearity_restarts=1, linearity_steps=5)  # fmt: skip
EPS = 0.05


@pytest.fixture(scope="module")
def records(trained) -> list[dict]:
    return list(diagnosed(trained.model, trained.data, eps=EPS, budget=QUICK))


@pytest.mark.parametrize(
    "options", [{}, {"norm": "l2", "eps": 0.5}, {"norm": "l1", "eps": 2.0}, {"noise": "gaussian:0.2"}], ids=str
)
def test_settings_and_records_are_complete(trained, options) -> None:
    part = trained.data.every(1, 12)
    options = {"eps": EPS, "attack_draws": 2, "predict_draws": 200, **options}
    evaluation = diagnosed(trained.model, part, budget=QUICK, **options)
    settings = check_settings("diagnosed", evaluation.settings)
    assert settings["budget"]["steps"] == 40
    assert (settings["form"] is None) == ("noise" not in options)
    for record in evaluation:
        check_record("diagnosed", {"evaluation": "x", **record})
        assert record["correct"] == (record["predict"] == record["label"])
        assert len(record["by_eps"]) == len(MULTIPLES)


def test_an_image_has_its_record_whatever_its_company(trained, records, without_seconds) -> None:
    """Up to the last bits of floats, which depend on the batch."""
    part = trained.data.subset([3, 11, 47])
    alone = list(diagnosed(trained.model, part, eps=EPS, budget=QUICK, batch=1))
    together = [record for record in records if record["index"] in part.indices.tolist()]
    for one, other in zip(without_seconds(alone), without_seconds(together), strict=True):
        for name, value in one.items():
            near = isinstance(value, float)
            assert value == (pytest.approx(other[name], rel=1e-3, abs=1e-6) if near else other[name]), name


@pytest.mark.parametrize("options", [{}, {"noise": "gaussian:0.2", "attack_draws": 2, "predict_draws": 200}], ids=str)
def test_a_diagnosis_is_resumed(trained, without_seconds, options) -> None:
    def begin():
        part = trained.data.subset(range(24))
        return evaluate(trained.model, part, eps=EPS, budget=QUICK, batch=8, **options)

    whole = without_seconds(begin())
    assert without_seconds(begin().records({record["index"] for record in whole[:10]})) == whole[10:]


def test_images_that_fall_at_the_random_start_are_saved_too(trained) -> None:
    records = list(diagnosed(trained.model, trained.data.every(1, 40), eps=0.9, budget=QUICK))
    at_once = [record for record in records if record["correct"] and record["after_steps"] == 0 and record["fooled"]]
    assert at_once
    assert all(record["fooled_rounded"] is not None for record in at_once)


def test_fields_are_those_of_the_attacks(trained, records) -> None:
    x, y = trained.data.pixels(), trained.data.labels
    keys, ball = [key(0, "diagnose", index) for index in trained.data.indices.tolist()], Ball("linf", EPS)
    with frozen(trained.model):
        one = fgsm(trained.model, x, y, ball=ball, keys=keys).success
        long = pgd(trained.model, x, y, ball=ball, steps=40, step_size=EPS / 10, keys=keys).success
        many = pgd(trained.model, x, y, ball=ball, steps=10, loss="margin", restarts=3, keys=keys).success
        small = pgd(trained.model, x, y, ball=ball, steps=6, step_size=EPS / 10, keys=keys).success
        once = pgd(trained.model, x, y, ball=ball, steps=10, loss="margin", restarts=1, keys=keys).success
        white = one | long | many
        black = square(trained.model, x, y, ball=ball, queries=150, keys=keys).success
    assert [record["one_step"] for record in records] == one.tolist()
    assert [record["after_steps"] is not None for record in records] == long.tolist()
    assert [record["after_restarts"] is not None for record in records] == many.tolist()
    assert [
        (inf if record["after_steps"] is None else record["after_steps"]) <= 6 for record in records
    ] == small.tolist()
    assert [record["after_restarts"] == 1 for record in records] == once.tolist()
    assert [record["black_box"] == "square" for record in records] == (black & ~white).tolist()
    assert all(record["after_steps"] == 0 for record in records if not record["correct"])
    assert not any("fooled_again" in record for record in records)
    saved = [record["fooled_rounded"] for record in records]
    assert [each is not None for each in saved] == [record["fooled"] and record["correct"] for record in records]
    assert 0 < sum(white.tolist()) < len(white)  # both kinds are looked at


def test_without_a_gradient_the_rest_is_told(trained) -> None:
    box = BlackBox(lambda images: trained.model(torch.from_numpy(images)).detach().numpy(), identity="box")
    records = list(diagnosed(box, trained.data.every(1, 20), eps=0.3, budget=QUICK))
    for record in records:
        check_record("diagnosed", {"evaluation": "x", **record})
        assert record["unavailable"]
        assert record.get("one_step") is None
        assert record.get("gamma") is None
    assert any(record["black_box"] == "square" for record in records)


def test_another_classifier_is_tried_too(trained) -> None:
    """The quantised net hides its gradient; what fools the net fools it as well."""
    evaluation = diagnosed(
        BlackBox(lambda images: trained.model(torch.from_numpy(images)).detach().numpy(), identity="box"),
        trained.data.every(1, 20), eps=0.1, budget=Budget(queries=120, samples=2, noise_draws=1, directions=1),
        source=trained.model,
    )  # fmt: skip
    assert len(evaluation.settings["source"]) == 64
    assert any(record["black_box"] == "transfer" for record in evaluation)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"eps": 0.0}, "eps is 0"), ({"eps": 1.5}, "in linf, 1 reaches"), ({"eps": 7, "norm": "l2"}, "in l2, 6 reaches"),
     ({"eps": 0.1, "norm": "l3"}, "norm"),
     ({"eps": 0.1, "noise": "gaussian:0.5", "predict_draws": 1}, "predict_draws"),
     ({"eps": 0.1, "batch": 0}, "batch is 0")],
)  # fmt: skip
def test_mistakes_are_named(trained, options, named) -> None:
    with pytest.raises(UserError, match=named):
        diagnosed(trained.model, trained.data, budget=QUICK, **options)


@pytest.mark.parametrize(("field", "value"), [("steps", 0), ("queries", 119), ("noise_draws", -1)])
def test_a_budget_of_nothing_is_refused(field: str, value: int) -> None:
    with pytest.raises(UserError, match=f"{field} is {value}"):
        Budget(**{field: value})


def test_what_it_takes_is_estimated(trained) -> None:
    found = diagnosed(trained.model, trained.data, eps=EPS, budget=QUICK).effort(list(range(60)))
    assert found is not None
    assert found.images == 60
    assert 0 < found.seconds < 600
