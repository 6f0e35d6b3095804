"""A budget for a whole table: rounds that nothing but the counts can change, resumed from any of them."""

import functools
import json

import pytest

from gambeson.engines import here
from gambeson.engines.local import Local
from gambeson.errors import UserError
from gambeson.evaluation import certified, pilot, procedures
from gambeson.evaluation.plan import Evaluation
from gambeson.schema import check_record, check_settings, check_slice

RADII = [0.0, 0.1, 0.2, 0.3]
ONE_CALL = functools.partial(here, slice_seconds=0.0)
SMALL = {"noise": "gaussian:0.3", "draws": 3_000, "select_draws": 50, "radii": RADII}


def evaluation(trained, images: int = 40, error: float = 0.05, **options) -> Evaluation:
    return certified(trained.model, trained.data.subset(range(images)), table_error=error, **{**SMALL, **options})


def by_index(records: list[dict]) -> list[dict]:
    return sorted(records, key=lambda record: record["index"])


def test_records_and_settings_are_complete(trained) -> None:
    whole = evaluation(trained)
    settings = check_settings("certified", whole.settings)
    assert settings["budget"]["table_error"] == 0.05
    assert settings["budget"]["price"] is None
    records = list(whole)
    for record in records:
        check_record("certified", {"evaluation": "x", **record})
        certifies = [radius for radius in RADII if 0 < record["radii"]["gaussian_l2"] >= radius]
        assert certifies == RADII[: len(certifies)]
        assert record["undecided"] == RADII[len(certifies) : len(certifies) + len(record["undecided"])]
        assert (record["stopped"] == "wrong") == (record["draws"] == 0) == (record["selected"] != record["label"])
        assert (record["stopped"] in ("no draws left", "not worth more draws")) == bool(record["undecided"])
    assert len({record["draws"] for record in records}) > 3


@pytest.mark.parametrize("rule", ["group_sequential", "beta_mixture"])
def test_cells_hold_what_all_draws_certify(trained, rule) -> None:
    """And are as narrow as was asked for, with fewer draws."""
    full = list(certified(trained.model, trained.data.subset(range(30)), **{**SMALL, "radii": None, "draws": 8_000}))
    records = list(evaluation(trained, 30, 0.1, rule=rule))
    for radius in RADII:
        low = sum(r["correct"] and r["radii"]["gaussian_l2"] >= radius for r in records)
        high = low + sum(radius in r["undecided"] for r in records)
        most = sum(r["correct"] and r["radii"]["gaussian_l2"] >= radius for r in full)
        assert low <= most <= high
        assert high - low <= 0.1 * 30
    assert sum(r["draws"] for r in records) < 30 * 3_000 / 3


@pytest.mark.usefixtures("forked_workers")
def test_neither_workers_nor_slices_change_a_record(trained, without_seconds) -> None:
    slices: list[dict] = []
    expected = without_seconds(evaluation(trained, 12))
    whole = evaluation(trained, 12)
    assert without_seconds(whole.records(engine=ONE_CALL, keep=slices.append)) == expected
    for one in slices:
        check_slice({"evaluation": "x", **one})
    found = without_seconds(whole.records(engine=Local(2, slice_seconds=0.0)))
    assert by_index(found) == expected


def test_company_changes_nothing_and_the_error_does(trained, without_seconds, monkeypatch) -> None:
    expected = without_seconds(evaluation(trained, 20))
    monkeypatch.setattr(procedures, "company", lambda batch: 3)
    assert without_seconds(evaluation(trained, 20)) == expected
    wide = without_seconds(evaluation(trained, 20, 0.3))
    assert sum(r["draws"] for r in wide) < sum(r["draws"] for r in expected)


def test_it_goes_on_from_whatever_was_kept(trained, without_seconds) -> None:
    whole, slices = evaluation(trained, 8), []
    expected = without_seconds(whole.records(engine=ONE_CALL, keep=slices.append))
    assert len(slices) > 8
    for cut in range(0, len(slices) + 1, max(1, len(slices) // 6)):
        kept, more = json.loads(json.dumps(slices[:cut])), []
        assert without_seconds(whole.records(engine=ONE_CALL, partial=iter(kept), keep=more.append)) == expected
        assert len(more) <= len(slices) - cut + 1  # nothing is counted twice
    done = {expected[0]["index"], expected[3]["index"]}
    rest = without_seconds(whole.records(done, ONE_CALL, slices))
    assert rest == [record for record in expected if record["index"] not in done]


def test_a_whole_table_is_not_done_again(trained) -> None:
    def none(judge, take):
        raise AssertionError("there is nothing to do")

    assert list(evaluation(trained, 8).records(set(trained.data.indices[:8].tolist()), none)) == []


def test_rounds_are_told(trained) -> None:
    told: list[tuple[str, int]] = []
    records = list(evaluation(trained, 30).records(tell=lambda note, draws=0: told.append((note, draws))))
    notes, draws = zip(*told, strict=True)
    assert notes[0] == "round 1: 30 images, certified at 0.2: 0.000, error 1.000"
    rounds = list(dict.fromkeys(notes))
    assert [note.partition(":")[0] for note in rounds] == [f"round {n}" for n in range(1, len(rounds) + 1)]
    assert len(rounds) > 2
    certified = [float(note.split(": ")[2].partition(",")[0]) for note in rounds]
    assert certified == sorted(certified)
    assert certified[-1] <= sum(r["correct"] and r["radii"]["gaussian_l2"] >= 0.2 for r in records) / 30 + 0.0005
    assert draws[0] == 0
    assert draws[-1] == sum(50 + r["draws"] for r in records)
    assert list(draws) == sorted(draws)


def test_the_estimate_is_near_what_then_happens(trained, monkeypatch) -> None:
    monkeypatch.setattr(pilot, "FEW_CALLS", 1)
    monkeypatch.setattr(pilot, "FEW_SECONDS", 0)
    monkeypatch.setattr(pilot, "SECONDS", 1e9)  # as many draws as it may make, however slow the machine
    whole = evaluation(trained, 60, 0.05)
    estimate = whole.pilot(list(range(60)))
    truth = sum(50 + record["draws"] for record in whole) / 60
    assert truth / 2 < estimate.draws < truth * 2


def test_a_table_needs_a_grid(trained) -> None:
    with pytest.raises(UserError, match=r"without radii every image gets the same .*: leave table_error out"):
        evaluation(trained, radii=None)
    with pytest.raises(UserError, match="table error is 1"):
        evaluation(trained, error=1)
