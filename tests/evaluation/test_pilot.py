"""The estimate before a certification: near what then happens, cheap, and without a trace in the records."""

import pytest

from gambeson.evaluation import certified, pilot
from gambeson.smoothed.hard import Smoothed

GRID = {"radii": [0.0, 0.1, 0.2, 0.3], "price": 1e5, "noise": "gaussian:0.2", "draws": 5_000, "select_draws": 50}
ALL = list(range(60))


@pytest.fixture
def eager(monkeypatch):
    """Nothing is too little to be estimated, by as many draws as may be, however slow the machine is."""
    monkeypatch.setattr(pilot, "FEW_CALLS", 1)
    monkeypatch.setattr(pilot, "FEW_SECONDS", 0)
    monkeypatch.setattr(pilot, "SECONDS", 1e9)


@pytest.fixture
def asked(monkeypatch):
    """(purpose, index, draws) of everything that is drawn once a form is found eligible."""
    found, request = [], Smoothed.request

    def noted(self, pixels, index, ask, purpose="certify"):
        if purpose != "form":
            found.append((purpose, index, ask.draws))
        return request(self, pixels, index, ask, purpose)

    monkeypatch.setattr(Smoothed, "request", noted)
    return found


def spent(records) -> float:
    return sum(50 + record["draws"] for record in records) / len(records)


@pytest.mark.parametrize("options", [{}, {"noise": "gaussian:0.6", "stop_wrong": True}], ids=["all", "stop_wrong"])
def test_it_is_near_what_then_happens(trained, eager, options) -> None:
    evaluation = certified(trained.model, trained.data, **{**GRID, **options})
    estimate = evaluation.pilot(ALL)
    assert estimate.images == 60
    assert estimate.rate > 0
    assert estimate.seconds == pytest.approx(60 * estimate.draws / estimate.rate)
    truth = spent(list(evaluation))
    assert truth / 1.5 < estimate.draws < truth * 1.5


def test_a_fixed_budget_is_known(trained, eager) -> None:
    options = {name: GRID[name] for name in ("noise", "draws", "select_draws")}
    assert certified(trained.model, trained.data, **options).pilot(ALL).draws == 5_050


def test_only_what_is_left_counts(trained, eager, asked) -> None:
    estimate = certified(trained.model, trained.data, **GRID).pilot(ALL[40:])
    assert estimate.images == 20
    assert {index for _, index, _ in asked} == {20 * row for row in ALL[40:]}


def test_it_is_small_and_its_noise_is_its_own(trained, eager, asked, without_seconds, monkeypatch) -> None:
    plain = without_seconds(certified(trained.model, trained.data.subset(ALL[:3]), **GRID))
    asked.clear()
    monkeypatch.setattr(pilot, "SECONDS", 0.0)
    evaluation = certified(trained.model, trained.data, **GRID)
    evaluation.pilot(ALL)
    assert {purpose for purpose, _, _ in asked} == {"pilot"}
    warm = 2 * evaluation.judge.smoothed.base.form.batch
    assert sum(draws for _, _, draws in asked) - warm <= pilot.SHARE * 60 * 5_050
    asked.clear()
    assert without_seconds(certified(trained.model, trained.data.subset(ALL[:3]), **GRID)) == plain
    assert {purpose for purpose, _, _ in asked} == {"certify"}


def test_next_to_nothing_is_not_estimated(trained, asked, monkeypatch) -> None:
    evaluation = certified(trained.model, trained.data, **GRID)
    assert evaluation.pilot([]) is None
    assert evaluation.pilot(ALL[:2]) is None
    assert asked == []
    monkeypatch.setattr(pilot, "FEW_SECONDS", 1e9)
    assert evaluation.pilot(ALL) is None
    assert len(asked) == 2  # calls to see how long it would take
