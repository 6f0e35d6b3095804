"""Balls and boxes say no to what is not in pixel units."""

from math import inf, nan

import pytest

from gambeson.errors import UserError
from gambeson.types import NORMS, Ball, Box


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [0, 0.0, 1e-300, 8 / 255, 1])
def test_balls_that_exist(norm: str, eps: float) -> None:
    assert Ball(norm, eps).eps == eps  # type: ignore[arg-type]


@pytest.mark.parametrize("eps", [-1e-9, nan, inf, -inf])
@pytest.mark.parametrize("norm", NORMS)
def test_radii_that_are_none(norm: str, eps: float) -> None:
    with pytest.raises(UserError, match=r"eps is .* finite and >= 0.*8/255"):
        Ball(norm, eps)  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", ["l0", "Linf", "", None, 2])
def test_unknown_norms(norm: object) -> None:
    with pytest.raises(UserError, match="linf, l2, l1"):
        Ball(norm, 0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("lower", "upper"), [(1.0, 0.0), (0.5, 0.5), (nan, 1.0), (0.0, nan)])
def test_boxes_have_an_inside(lower: float, upper: float) -> None:
    with pytest.raises(UserError, match="box is"):
        Box(lower, upper)
