"""Natural accuracy: the model's own answers."""

import torch

from gambeson.evaluation import clean
from gambeson.schema import check_record, check_settings


def test_records_say_what_the_model_says(trained) -> None:
    evaluation = clean(trained.model, trained.data)
    records = list(evaluation)
    with torch.no_grad():
        probabilities = trained.model(trained.data.pixels()).softmax(1)
    assert [r["predict"] for r in records] == probabilities.argmax(1).tolist()
    assert torch.allclose(torch.tensor([r["confidence"] for r in records]), probabilities.amax(1), atol=1e-5)
    assert [r["label"] for r in records] == trained.data.labels.tolist()
    assert all(r["correct"] == (r["predict"] == r["label"]) for r in records)
    assert sum(r["correct"] for r in records) > 50
    check_settings("clean", evaluation.settings)
    for record in records:
        check_record("clean", {"evaluation": "x", **record})


def test_pairs_and_data_set_agree(trained) -> None:
    first, second = ([r["predict"] for r in clean(trained.model, data)] for data in (trained.data, trained.pairs))
    assert first == second


def test_resumed_records_are_the_same(trained, without_seconds) -> None:
    whole = without_seconds(clean(trained.model, trained.data, batch=16))
    done = {record["index"] for record in whole[:21]}
    assert without_seconds(clean(trained.model, trained.data, batch=16).records(done)) == whole[21:]
