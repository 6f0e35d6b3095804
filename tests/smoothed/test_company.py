"""Time may cut the work anywhere: the calls of the model, row by row, and what comes of them stay the same."""

from functools import partial

import numpy as np
import pytest
import torch
from halfspaces import halfspace
from torch import Tensor

from gambeson.errors import UserError
from gambeson.inference import Form, serve
from gambeson.noise import lattice, parse
from gambeson.sampling import Counts
from gambeson.smoothed.company import advance, together
from gambeson.smoothed.fixed import fixed
from gambeson.smoothed.grid import grid, thresholds
from gambeson.smoothed.hard import Smoothed
from gambeson.stats import plan

IMAGES = torch.randint(0, 256, (5, 1, 4, 4), generator=torch.Generator().manual_seed(0)) / 255
INDICES = [3, 1, 4, 15, 9]
MADE = plan(thresholds(halfspace("gaussian:0.25"), [0.0, 0.1], 16), alpha=0.01, cap=1_000, price=1e7)
PROCEDURES = {
    "fixed": partial(fixed, select_draws=30, draws=930, alpha=0.01),
    "grid": partial(grid, select_draws=30, plan=MADE),
}


def by_row(images: Tensor) -> Tensor:
    """Which class wins depends on the image, its noise, and above all on its row in the call."""
    row = torch.arange(len(images))
    z = torch.stack([row % 3 == k for k in range(3)], 1).float()
    return z + images.flatten(1)[:, :3]


def smoothed(batch: int = 70) -> Smoothed:
    return Smoothed(serve(by_row, Form("float32", "contiguous", batch)), lattice(parse("gaussian:0.25"), 255), 3)


def begin(kind: str, where: Smoothed) -> list:
    return [PROCEDURES[kind](where, image) for image in IMAGES]


@pytest.mark.parametrize("kind", ["fixed", "grid"])
@pytest.mark.parametrize("calls", [1, 3, 1000])
def test_how_time_cuts_the_work_changes_nothing(kind: str, calls: int) -> None:
    """The model tells its rows apart: had a draw come to another row, the counts would differ."""
    where = smoothed()
    whole = together(where, begin(kind, where), IMAGES, INDICES)
    answers: list = [{} for _ in IMAGES]
    slices, done = 0, {}
    while len(done) < len(IMAGES):
        asked = iter(range(calls - 1))
        done, after = advance(
            where, begin(kind, where), IMAGES, INDICES, answers, lambda left=asked: next(left, None) is None
        )
        counted = sum(found.draws for image in after for found in image.values())
        before = sum(found.draws for image in answers for found in image.values())
        assert counted > before or len(done) == len(IMAGES)
        answers, slices = after, slices + 1
    assert [done[row] for row in range(len(IMAGES))] == whole
    assert slices == 1 if calls == 1000 else slices > 2


def test_a_draw_in_another_row_would_be_noticed() -> None:
    where, other = smoothed(), smoothed(batch=71)
    assert together(where, begin("fixed", where), IMAGES, INDICES) != together(
        other, begin("fixed", other), IMAGES, INDICES
    )


def test_what_was_given_is_left_as_it_was() -> None:
    where = smoothed()
    answers: list = [{} for _ in IMAGES]
    advance(where, begin("fixed", where), IMAGES, INDICES, answers, lambda: True)
    assert answers == [{}] * 5


@pytest.mark.parametrize("found", [Counts(np.array([31, 0, 0]), 31), Counts(np.array([20, 0]), 20)], ids=["31", "2"])
def test_counts_that_do_not_fit_the_procedure_are_refused(found: Counts) -> None:
    where = smoothed()
    answers = [{("select", 0): found}, {}, {}, {}, {}]
    with pytest.raises(
        UserError, match=r"image 3: its partial counts .* asks for 30 draws of 3: delete partial\.jsonl"
    ):
        advance(where, begin("fixed", where), IMAGES, INDICES, answers, lambda: True)
