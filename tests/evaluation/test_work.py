"""Work that comes back: judged in slices, resumed from any of them, the records are those of one go."""

import functools
import json

import pytest

from gambeson.engines import here
from gambeson.engines.local import Local
from gambeson.errors import RunError
from gambeson.evaluation import certified
from gambeson.evaluation.plan import Evaluation
from gambeson.evaluation.work import at_once
from gambeson.schema import check_slice

ONE_CALL = functools.partial(here, slice_seconds=0.0)
BUDGETS = {
    "fixed": {"draws": 1_000, "select_draws": 20},
    "soft": {"draws": 1_000, "select_draws": 20, "smoothing": "soft"},
    "grid": {"draws": 1_000, "select_draws": 20, "radii": [0.0, 0.1, 0.2], "price": 1e6},
}


def evaluation(trained, kind: str, images: int = 4) -> Evaluation:
    return certified(trained.model, trained.data.subset(range(images)), noise="gaussian:0.2", **BUDGETS[kind])


@pytest.mark.parametrize("kind", BUDGETS)
def test_slices_change_no_record_whatever_the_engine(trained, without_seconds, kind) -> None:
    whole, slices = evaluation(trained, kind), []
    expected = without_seconds(whole)
    assert without_seconds(whole.records(engine=ONE_CALL, keep=slices.append)) == expected
    assert len(slices) > 1  # images of a grid share their calls, and how many they need is chance
    for one in slices:
        check_slice({"evaluation": "x", **one})
    found = without_seconds(whole.records(engine=Local(2, slice_seconds=0.0)))
    assert sorted(found, key=lambda record: record["index"]) == expected


@pytest.mark.parametrize("kind", BUDGETS)
def test_it_goes_on_from_whatever_was_kept(trained, without_seconds, kind) -> None:
    whole, slices = evaluation(trained, kind), []
    expected = without_seconds(whole.records(engine=ONE_CALL, keep=slices.append))
    for cut in (1, len(slices) // 2, len(slices)):
        kept, more = json.loads(json.dumps(slices[:cut])), []
        assert without_seconds(whole.records(engine=ONE_CALL, partial=kept, keep=more.append)) == expected
        assert len(more) <= len(slices) - cut  # nothing is counted twice
        done = {expected[0]["index"], expected[2]["index"]}
        rest = without_seconds(whole.records(done, ONE_CALL, kept))
        assert rest == [record for record in expected if record["index"] not in done]


def test_seconds_go_on(trained) -> None:
    slices: list[dict] = []
    whole = evaluation(trained, "fixed", 1)
    list(whole.records(engine=ONE_CALL, keep=slices.append))
    seconds = [one["seconds"] for one in slices]
    assert seconds == sorted(seconds)
    (record,) = whole.records(partial=[{**slices[-1], "seconds": 1000.0}])
    assert 1000 <= record["seconds"] < 1010


def test_an_engine_that_loses_work_is_noticed(trained) -> None:
    judge = at_once(lambda part: [{} for _ in part])
    whole = Evaluation("clean", {}, trained.data, 25, judge)
    with pytest.raises(RunError, match="3 batches of images came back from no worker"):
        list(whole.records(engine=lambda judge, take: []))
    with pytest.raises(RunError, match="3 batches"):
        list(whole.records(engine=lambda judge, take: [take()][:0]))
