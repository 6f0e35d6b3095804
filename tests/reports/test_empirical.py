"""Curves of accuracy under attack: what belongs together, and where they start."""

from pathlib import Path

import numpy as np

from gambeson.reports.empirical import attack_name, curves
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


def suite(eps: float, steps: float):
    """A suite at one eps, two of whose members step by a share of it."""
    step = {"step_size": steps * eps}
    members = [{"name": "pgd_100", "attack": "pgd", "options": step},
               {"name": "transfer", "attack": "transfer", "options": {"inner": "pgd", "of": step}}]  # fmt: skip
    return attacked(eps, None, attack="strong", members=members)


def test_the_members_of_a_suite_step_in_proportion_too() -> None:
    assert eps_of(suite(0.1, 0.1), suite(0.2, 0.1)) == [[0.0, 0.1, 0.2]]
    assert eps_of(suite(0.1, 0.1), suite(0.2, 0.2)) == [[0.0, 0.1], [0.0, 0.2]]
    assert eps_of(suite(0.0, 0.1), suite(0.2, 0.1)) == [[0.0, 0.2]]


def test_an_unusual_loss_is_part_of_the_name() -> None:
    one, other = curves(Source("r", Path("r"), "run", attacked=[attacked(0.1, 0.01, loss=loss) for loss in
                                                                ("cross_entropy", "margin")]))  # fmt: skip
    assert (attack_name(one), attack_name(other)) == ("pgd-20", "pgd-20, margin")


def test_what_is_said_of_draws_is_part_of_the_name() -> None:
    ways = ({"order": "mean_of_log", "loss": "log_probability"}, {"gradient": "stein"}, {"redraw": True})
    named = [attack_name(curve) for curve in curves(Source("r", Path("r"), "run", attacked=[
        attacked(0.1, 0.01, target="smoothed", noise="gaussian:0.5", **way) for way in ways]))]  # fmt: skip
    assert named == ["pgd-20, mean of the log", "pgd-20, Stein's gradient", "pgd-20, new draws each step"]


def test_only_a_suite_has_a_share_of_its_budget() -> None:
    """Square has an option of that name: how much of an image its first squares cover."""
    square = {"attack": "square", "options": {"queries": 300, "share": 0.8}, "steps": None}
    cut = {"attack": "strong", "steps": None, "share": 0.1, "members": [
        {"name": "apgd_ce", "attack": "apgd", "options": {}}, {"name": "square", **square}]}  # fmt: skip
    blind = {**cut, "share": 1.0, "members": cut["members"][1:]}
    named = [attack_name(curve) for curve in curves(Source("r", Path("r"), "run", attacked=[
        attacked(0.1, None, **settings) for settings in (square, cut, blind)]))]  # fmt: skip
    assert named == ["square", "strong (cut to 10 % of restarts and queries)", "strong without gradients"]


def test_it_stays_alone_where_no_attack_is_alike() -> None:
    assert eps_of(attacked(0.0, 0.0, norm="l2"), attacked(0.1, 0.01)) == [[0.0, 0.1], [0.0]]


def test_without_an_attack_at_eps_0_the_clean_answers_begin_the_curve() -> None:
    assert eps_of(attacked(0.1, 0.01)) == [[0.0, 0.1]]
