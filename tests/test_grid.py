"""Sweeps: the grid and the rule."""

import pytest

from gambeson.errors import UserError
from gambeson.grid import Outcome, Point, chosen, points


def test_every_combination_has_a_folder_of_its_own() -> None:
    found = points(["method.beta=1,3", "method.eps={from = 0.0, to = 0.3},0.1"])
    assert [point.settings for point in found] == [
        ("method.beta=1", "method.eps={from = 0.0, to = 0.3}"),
        ("method.beta=1", "method.eps=0.1"),
        ("method.beta=3", "method.eps={from = 0.0, to = 0.3}"),
        ("method.beta=3", "method.eps=0.1"),
    ]
    assert len({point.name for point in found}) == 4
    assert found[0].name == "beta-1_eps--from---0.0--to---0.3-"
    assert all("/" not in point.name and " " not in point.name for point in found)
    points(["method.eps={from = 0.0, to = 0.3, until = 0.2},{from = 0.1, to = 0.3, until = 0.2}"])
    assert points([]) == [Point(())]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["method.beta"], "it must be KEY=A,B,C"),
        (["method.beta=1,,2"], "it must be KEY=A,B,C"),
        (["=1"], "it must be KEY=A,B,C"),
        (["method.beta=1,1"], "names a value twice"),
        (["a=1", "a=2"], "names a key twice"),
        (["a=x/y,x y"], "one folder"),
        (["seed=0,1"], "a sweep's seeds are its --seeds"),
    ],
)
def test_a_grid_that_is_none_is_refused(grid: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        points(grid)


def outcome(name: str, seed: int, robust: int, test: int, natural: int = 90) -> Outcome:
    return Outcome(Point((f"x={name}",)), seed, (natural, 100), (robust, 100), (natural, 100), (test, 100), None)


def test_validation_images_decide_and_test_images_do_not() -> None:
    found = [outcome("a", 0, 50, 99), outcome("b", 0, 51, 10), outcome("a", 1, 50, 99), outcome("b", 1, 51, 10)]
    assert chosen(found) == Point(("x=b",))


def test_the_mean_over_seeds_decides_then_natural_accuracy_then_the_order() -> None:
    assert chosen([outcome("a", 0, 90, 0), outcome("a", 1, 0, 0), outcome("b", 0, 46, 0), outcome("b", 1, 46, 0)]) == (
        Point(("x=b",))
    )
    assert chosen([outcome("a", 0, 50, 0), outcome("b", 0, 50, 0, natural=91)]) == Point(("x=b",))
    assert chosen([outcome("a", 0, 50, 0), outcome("b", 0, 50, 0)]) == Point(("x=a",))
