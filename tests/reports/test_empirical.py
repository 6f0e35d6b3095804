"""Curves of accuracy under attack: what belongs together, and where they start."""

from pathlib import Path

import numpy as np

from gambeson.reports.empirical import curves
from gambeson.reports.series import Attacked, Images, Source


def attacked(eps, step_size, **settings):
    images = Images(np.arange(2), np.zeros(2), np.zeros(2), np.array([True, eps < 0.2]), None, 2, None)
    chosen = {
        "attack": "pgd",
        "target": "base",
        "norm": "linf",
        "steps": 20,
        "restarts": 1,
        "targeted": None,
        **settings,
    }
    nobody = np.zeros(2)
    return Attacked(images, "e", {**chosen, "eps": eps, "step_size": step_size}, nobody, nobody, nobody, None, nobody)


def eps_of(*attacks):
    return [[point.eps for point in curve.points] for curve in curves(Source("r", Path("r"), "run", attacked=attacks))]


def test_an_attack_without_room_begins_the_curve_of_its_attack() -> None:
    assert eps_of(attacked(0.0, 0.0), attacked(0.1, 0.01), attacked(0.2, 0.02)) == [[0.0, 0.1, 0.2]]


def test_it_begins_both_curves_where_only_the_step_differs() -> None:
    assert eps_of(attacked(0.0, 0.0), attacked(0.1, 0.01), attacked(0.1, 0.05)) == [[0.0, 0.1], [0.0, 0.1]]


def test_it_stays_alone_where_no_attack_is_alike() -> None:
    assert eps_of(attacked(0.0, 0.0, norm="l2"), attacked(0.1, 0.01)) == [[0.0, 0.1], [0.0]]


def test_without_an_attack_at_eps_0_the_clean_answers_begin_the_curve() -> None:
    assert eps_of(attacked(0.1, 0.01)) == [[0.0, 0.1]]
