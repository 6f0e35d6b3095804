"""Schedules: exact values, and the tables that are refused."""

from math import cos, pi

import pytest

from gambeson.errors import UserError
from gambeson.recipe import Schedule
from gambeson.training.schedules import check, lr_factor, value, values


def test_constant() -> None:
    assert [lr_factor(Schedule(), p) for p in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


def test_step_falls_at_each_milestone() -> None:
    schedule = Schedule(lr="step", milestones=[1 / 3, 2 / 3], factor=0.1)
    # 90 epochs of 7 steps: the published schedule falls after epochs 30 and 60
    factors = [lr_factor(schedule, step / 630) for step in (0, 209, 210, 419, 420, 629)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_is_half_a_wave_after_the_warmup() -> None:
    schedule = Schedule(lr="cosine", warmup=0.2)
    assert lr_factor(schedule, 0.0) == pytest.approx(0.01)
    assert lr_factor(schedule, 0.1) == pytest.approx(0.505)
    assert lr_factor(schedule, 0.2) == pytest.approx(1.0)
    assert lr_factor(schedule, 0.6) == pytest.approx((1 + cos(pi / 2)) / 2)
    assert lr_factor(schedule, 1.0) == pytest.approx(0.0)


def test_one_cycle_rises_to_its_peak_and_falls() -> None:
    schedule = Schedule(lr="one_cycle", warmup=0.25)
    assert [lr_factor(schedule, p) for p in (0.0, 0.125, 0.25, 1.0)] == pytest.approx([0.04, 0.52, 1.0, 1e-4])
    rates = [lr_factor(schedule, p / 100) for p in range(101)]
    assert max(rates) == rates[25] == 1.0


def test_value_is_linear_between_start_and_until() -> None:
    table = {"from": 1.0, "to": 3.0, "start": 0.25, "until": 0.75}
    assert [value(table, p) for p in (0.0, 0.25, 0.5, 0.75, 1.0)] == [1.0, 1.0, 2.0, 3.0, 3.0]
    assert values({"sigma": table, "noise": "gaussian"}, 0.5) == {"sigma": 2.0, "noise": "gaussian"}


@pytest.mark.parametrize(
    "table",
    [
        {"from": 0.0},
        {"from": 0.0, "to": 1.0, "until": 0.0},
        {"from": 0.0, "to": 1.0, "til": 0.5},
        {"from": "a", "to": 1.0},
        {"from": 0.0, "to": 1.0, "until": 2.0},
    ],
)
def test_a_broken_table_is_refused(table: dict) -> None:
    with pytest.raises(UserError, match=r"method\.weight is .* a schedule is"):
        check("weight", table)
