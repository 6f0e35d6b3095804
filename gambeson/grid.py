"""A sweep as data: the points of a grid, what came out at each, and the rule by which one of them is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import mean

from gambeson.errors import UserError

RULE = (
    "the largest mean over seeds of the accuracy under attack on validation images; of equal ones that of the largest "
    "natural accuracy there, then the first of the grid; test images have no say"
)


@dataclass(frozen=True)
class Point:
    """One choice of values, as words `KEY=VALUE` that `gambeson train --set` takes."""

    settings: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of folders: the keys' last parts and their values."""
        words = [word.partition("=") for word in self.settings]
        named = "_".join(f"{key.rpartition('.')[2]}-{value}" for key, _, value in words) or "recipe"
        return "".join(letter if letter.isalnum() or letter in "-_.+" else "-" for letter in named)


@dataclass(frozen=True)
class Outcome:
    """What one run of a point came to: (correct, images) of each."""

    point: Point
    seed: int
    natural_validation: tuple[int, int]
    robust_validation: tuple[int, int]
    natural_test: tuple[int, int]
    robust_test: tuple[int, int]
    train_seconds: float | None


def points(grid: Sequence[str]) -> list[Point]:
    """Every combination of `KEY=A,B,C` words; the last key moves fastest.

    >>> [point.name for point in points(["method.beta=1,6", "train.epochs=5"])]
    ['beta-1_epochs-5', 'beta-6_epochs-5']
    """
    axes = []
    for words in grid:
        key, equals, values = words.partition("=")
        found = [value.strip() for value in _split(values)]
        if not key or not equals or not all(found):
            raise UserError(f"--grid is {words!r}; it must be KEY=A,B,C, for example method.beta=1,3,6")
        if len(set(found)) < len(found):
            raise UserError(f"--grid {words!r} names a value twice")
        axes.append([f"{key}={value}" for value in found])
    keys = [words.partition("=")[0] for words in grid]
    if len(set(keys)) < len(keys):
        raise UserError(f"--grid names a key twice: {', '.join(keys)}; give all its values together")
    made = [Point(settings) for settings in product(*axes)]
    if "seed" in keys:
        raise UserError("--grid names seed; a sweep's seeds are its --seeds, from the recipe's own on")
    if len({point.name for point in made}) < len(made):
        raise UserError("two points of the grid would have one folder: write their values differently")
    return made


def chosen(outcomes: Sequence[Outcome]) -> Point:
    """By RULE."""

    def merit(point: Point) -> tuple[float, float]:
        mine = [one for one in outcomes if one.point == point]
        return mean(share(one.robust_validation) for one in mine), mean(share(one.natural_validation) for one in mine)

    return max(dict.fromkeys(one.point for one in outcomes), key=merit)  # the first of equals


def share(counted: tuple[int, int]) -> float:
    return counted[0] / counted[1]


def _split(values: str) -> list[str]:
    """At commas outside brackets: schedules and lists are values too."""
    parts, depth = [""], 0
    for letter in values:
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
