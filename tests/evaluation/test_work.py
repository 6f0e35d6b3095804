"""Work that comes back: judged in slices, resumed from any of them, the records are those of one go."""

import functools
import json
import random

import numpy as np
import pytest

from gambeson.engines import Engine, Judged, here, judged
from gambeson.engines.local import Local
from gambeson.errors import RunError
from gambeson.evaluation import certified
from gambeson.evaluation.plan import Evaluation
from gambeson.evaluation.work import Queue, at_once
from gambeson.sampling import Counts
from gambeson.schema import check_slice

ONE_CALL = functools.partial(here, slice_seconds=0.0)
BUDGETS = {
    "fixed": {"draws": 1_000, "select_draws": 20},
    "soft": {"draws": 1_000, "select_draws": 20, "smoothing": "soft"},
    "grid": {"draws": 1_000, "select_draws": 20, "radii": [0.0, 0.1, 0.2], "price": 1e6},
}


def by_index(records: list[dict]) -> list[dict]:
    return sorted(records, key=lambda record: record["index"])


def evaluation(trained, kind: str, images: int = 4) -> Evaluation:
    return certified(trained.model, trained.data.subset(range(images)), noise="gaussian:0.2", **BUDGETS[kind])


@pytest.mark.parametrize("kind", BUDGETS)
@pytest.mark.usefixtures("forked_workers")
def test_slices_change_no_record_whatever_the_engine(trained, without_seconds, kind) -> None:
    whole, slices = evaluation(trained, kind), []
    expected = without_seconds(whole)
    assert by_index(without_seconds(whole.records(engine=ONE_CALL, keep=slices.append))) == expected
    assert len(slices) > 1  # images share their calls, and how many those of a grid need is chance
    for one in slices:
        check_slice({"evaluation": "x", **one})
    found = without_seconds(whole.records(engine=Local(2, slice_seconds=0.0)))
    assert by_index(found) == expected


@pytest.mark.parametrize("kind", BUDGETS)
def test_it_goes_on_from_whatever_was_kept(trained, without_seconds, kind) -> None:
    whole, slices = evaluation(trained, kind), []
    expected = by_index(without_seconds(whole.records(engine=ONE_CALL, keep=slices.append)))
    for cut in (1, len(slices) // 2, len(slices)):
        kept, more = json.loads(json.dumps(slices[:cut])), []
        found = without_seconds(whole.records(engine=ONE_CALL, partial=kept, keep=more.append))
        assert by_index(found) == expected
        assert len(more) <= len(slices) - cut  # nothing is counted twice
        done = {expected[0]["index"], expected[2]["index"]}
        rest = by_index(without_seconds(whole.records(done, ONE_CALL, kept)))
        assert rest == [record for record in expected if record["index"] not in done]


def test_seconds_are_shared_as_draws_are_and_go_on(trained) -> None:
    slices: list[dict] = []
    whole = evaluation(trained, "grid")
    spent: list[float] = []

    def timed(judge, take):
        for one in ONE_CALL(judge, take):
            spent.append(one.seconds)
            yield one

    records = list(whole.records(engine=timed, keep=slices.append))
    assert sum(record["seconds"] for record in records) == pytest.approx(sum(spent), abs=1e-5)
    last = {image["index"]: {**image, "seconds": 1000.0} for one in slices for image in one["images"]}
    (record, *_) = whole.records(engine=ONE_CALL, partial=[*slices, {"images": list(last.values())[:1]}])
    assert 1000 <= record["seconds"] < 1010


def test_an_image_is_charged_for_its_own_draws(trained) -> None:
    """Two hundred draws and a hundred, of a slice of three seconds."""
    queue = Queue(trained.data, 32, [])
    queue.put([[0], [1], [2]])
    batch = queue.take(1)
    assert batch is not None
    assert batch.title == "3 images from 0 to 40"
    answers = [{("select", 0): Counts(np.array([draws, 0, 0]), draws)} if draws else {} for draws in (200, 100, 0)]
    finished, counted = queue.back(Judged(batch.number, ([None, {"a": 1}, None], answers), 3.0))
    assert finished == {1: {"a": 1}}
    assert queue.seconds[:3] == pytest.approx([2, 1, 0])
    entry = {"index": 0, "stage": "select", "first": 0, "seconds": 2.0, "draws": 200, "counts": [200, 0, 0]}
    assert counted == {
        0: [entry],
        1: [{**entry, "index": 20, "seconds": 1.0, "draws": 100, "counts": [100, 0, 0]}],
        2: [],
    }
    assert list(queue.waiting) == [[0], [2]]


@pytest.mark.parametrize(("images", "workers"), [(50, 8), (60, 16), (60, 2), (60, 1), (3, 8)])
def test_everybody_has_something_to_do_and_ends_alone(trained, images: int, workers: int) -> None:
    queue = Queue(trained.data, 32, [])
    queue.put([row] for row in range(images))
    sizes = []
    while (batch := queue.take(workers)) is not None:
        sizes.append(len(batch.part.data))
    assert sum(sizes) == images
    assert len(sizes) >= min(images, 2 * workers)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1 or workers == 1
    assert sizes[0] == (min(32, images) if workers == 1 else -(-images // (2 * workers - 1)))


def test_iterating_keeps_the_order_of_the_data(trained, monkeypatch) -> None:
    """Whatever is finished first."""
    monkeypatch.setattr("gambeson.evaluation.plan.Evaluation.records", lambda self: iter([{"index": 20}, {"index": 0}]))
    assert list(evaluation(trained, "fixed", 2)) == [{"index": 0}, {"index": 20}]


def test_what_is_left_of_a_slice_goes_to_whoever_is_free(trained) -> None:
    """Of three images that were handed out together, one is done and recorded, and the others go on apart."""
    queue = Queue(trained.data, 32, [])
    queue.put([row] for row in range(3))
    batch = queue.take(1)
    assert batch is not None
    queue.back(Judged(batch.number, ([None, {}, None], [{}, {}, {}]), 1.0))
    assert [len(queue.take(2).part.data) for _ in range(2)] == [1, 1]
    assert queue.take(2) is None


def among(workers: int, seed: int) -> Engine:
    """As many workers in one process: whoever chance chooses gives back a slice of one call."""

    def engine(judge, take):
        chance, at_work = random.Random(seed), []
        while True:
            while len(at_work) < workers and (batch := take(workers)) is not None:
                at_work.append(batch)
            if not at_work:
                return
            yield judged(judge, at_work.pop(chance.randrange(len(at_work))), 0.0)

    return engine


@pytest.mark.parametrize("kind", BUDGETS)
def test_neither_workers_nor_company_change_a_record(trained, without_seconds, kind, monkeypatch) -> None:
    expected = without_seconds(evaluation(trained, kind, 12))
    for workers, company in ((1, 1), (3, 5), (20, 32)):
        monkeypatch.setattr("gambeson.evaluation.procedures.company", lambda batch, most=company: most)
        slices: list[dict] = []
        found = list(evaluation(trained, kind, 12).records(engine=among(workers, company), keep=slices.append))
        assert by_index(without_seconds(found)) == expected
        half = slices[: len(slices) // 2]  # and goes on with other workers
        found = list(evaluation(trained, kind, 12).records(engine=among(workers + 1, 0), partial=half))
        assert by_index(without_seconds(found)) == expected


def test_an_engine_that_loses_work_is_noticed(trained) -> None:
    judge = at_once(lambda part: [{} for _ in part])
    whole = Evaluation("clean", {}, trained.data, 25, judge)
    with pytest.raises(RunError, match="60 images came back from no worker"):
        list(whole.records(engine=lambda judge, take: []))
    with pytest.raises(RunError, match="60 images"):
        list(whole.records(engine=lambda judge, take: [take(1)][:0]))
