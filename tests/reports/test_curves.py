"""Certified accuracy against brute force; the denominator; radii that equal a recorded radius."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gambeson.reports.curves import average_radius, counts_at, grid, steps
from gambeson.reports.series import Certified, Images


def series(predict, label, radius, *, max_radius=None, norm="l2"):
    predict, label, radius = np.array(predict), np.array(label), np.array(radius, dtype=float)
    images = Images(np.arange(len(label)), label, predict, predict == label, None, len(label), None)
    seconds = np.zeros(len(label))
    return Certified(images, "e", "gaussian_l2", norm, None, None, None, None, radius, None, max_radius, seconds)


radii_ = st.sampled_from([0.0, 0.25, 0.3, 0.5, 1.58])
answers = st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 2), radii_), min_size=1)


@given(answers, st.lists(st.floats(0, 3), min_size=1))
@settings(max_examples=200, deadline=None)
def test_counts_equal_brute_force(rows, radii):
    one = series(*zip(*rows, strict=True))
    radii = [*radii, 0.0, 0.25, 1.58]
    expected = [sum(p != -1 and p == y and r >= at for p, y, r in rows) for at in radii]
    assert counts_at(one, np.array(radii)).tolist() == expected


@given(answers)
@settings(max_examples=100, deadline=None)
def test_steps_hold_up_to_and_including_their_radius(rows):
    one = series(*zip(*rows, strict=True))
    radius, accuracy = steps(one)
    assert radius[0] == 0.0
    assert (np.diff(accuracy)[1:] < 0).all()
    for at, value in zip(radius, accuracy, strict=True):
        assert value == counts_at(one, np.array([at]))[0] / len(rows)
        later = counts_at(one, np.array([np.nextafter(at, np.inf)]))[0] / len(rows)
        assert later < value or at == 0.0


@given(answers)
@settings(max_examples=100, deadline=None)
def test_average_radius_is_the_area_under_the_curve(rows):
    one = series(*zip(*rows, strict=True))
    radius, accuracy = steps(one)
    assert average_radius(one) == pytest.approx(float((np.diff(radius) * accuracy[1:]).sum()), abs=1e-12)


def test_abstentions_stay_in_the_denominator():
    """A mutant that divides by the answered images only would give 1.0."""
    one = series([0, -1, -1, -1], [0, 0, 1, 2], [1.0, 0.0, 0.0, 0.0])
    assert counts_at(one, np.array([0.0, 1.0]))[1] / one.images.total == 0.25
    assert average_radius(one) == 0.25


def test_a_wrong_answer_with_a_radius_is_not_certified():
    assert counts_at(series([1], [0], [2.0]), np.array([0.0, 1.0])).tolist() == [0, 0]


def test_grid_holds_quarters_up_to_the_largest_radius_and_the_customary_one():
    one = series([0], [0], [0.4], max_radius=1.0)
    assert grid(one, None) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert grid(one, "mnist") == [0.0, 0.25, 0.5, 0.75, 1.0, 1.58]
    assert grid(one, "cifar10") == [0.0, 36 / 255, 0.25, 0.5, 0.75, 1.0]
    assert grid(series([0], [0], [0.4], norm="l1"), "mnist") == [0.0, 0.25]
    assert grid(series([0], [0], [0.4]), "folder:photos") == [0.0, 0.25]
