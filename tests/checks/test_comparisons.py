"""Attacks against each other, image by image, on equal terms only."""

from typing import Any

import pytest
from written import IMAGES, attack, attacked, smoothed

from gambeson.checks import run_checks
from gambeson.checks.check import Check
from gambeson.checks.thresholds import limit
from gambeson.records import Run


def check(run: Run, name: str) -> Check:
    [found] = [one for one in run_checks(run) if one.check == name]
    return found


def other(name: str, eps: float | None = 0.1, **changed: Any) -> dict[str, Any]:
    """The settings of an attack whose options are in one place."""
    listed = ("steps", "step_size", "step_rule", "loss", "restarts", "random_start", "early_stop", "step_rule_settings")
    rest = {key: value for key, value in attack(0.1).items() if key not in listed}
    return {**rest, "attack": name, "eps": eps, "options": {"queries": 5_000, "draws": 10_000}, **changed}


# success_grows_with_eps


def test_images_that_fall_at_a_smaller_eps_only_are_doubted(run: Run) -> None:
    for eps, fooled in ((0.0, 2), (0.1, 130), (0.2, 110), (0.4, 200)):
        attacked(run, attack(eps), fooled)
    found = check(run, "success_grows_with_eps")
    most = limit("success_grows_with_eps", IMAGES - 110, looks=2)
    assert (found.verdict, found.value, found.threshold) == ("doubt", 20, most)
    assert "20 of 140 images" in found.meaning
    assert "eps 0.1 and 0.2" in found.meaning


def test_growing_success_passes(run: Run) -> None:
    for eps, fooled in ((0.0, 2), (0.1, 130), (0.2, 130), (0.4, 200)):
        attacked(run, attack(eps), fooled)
    assert check(run, "success_grows_with_eps").verdict == "pass"


def test_different_attacks_are_not_compared_over_eps(run: Run) -> None:
    attacked(run, attack(0.1), 130)
    attacked(run, attack(0.2, norm="l2"), 10)
    attacked(run, attack(0.3, steps=1), 5)
    attacked(run, smoothed(0.4, norm="linf"), 5)
    assert check(run, "success_grows_with_eps").verdict == "not_run"


def test_steps_out_of_proportion_to_eps_are_another_attack(run: Run) -> None:
    attacked(run, attack(0.1), 130)
    attacked(run, attack(0.2), 140)
    attacked(run, attack(0.1, step_size=0.05), 180)
    attacked(run, attack(0.2, step_size=0.1, restarts=3), 180)
    assert check(run, "success_grows_with_eps").verdict == "pass"
    attacked(run, attack(0.2, step_size=0.1), 140)
    assert check(run, "success_grows_with_eps").verdict == "doubt"


@pytest.mark.parametrize("more", [
    lambda eps, queries: {"options": {"queries": queries}},
    lambda eps, queries: {"options": {"inner": "pgd", "of": {"steps": queries, "step_size": eps / 10}}},
])  # fmt: skip
def test_another_budget_is_another_attack(run: Run, more) -> None:
    attacked(run, other("transfer", 0.1, **more(0.1, 5_000)), 130)
    attacked(run, other("transfer", 0.2, **more(0.2, 120)), 60)
    assert check(run, "success_grows_with_eps").verdict == "not_run"
    attacked(run, other("transfer", 0.2, **more(0.2, 5_000)), 60)
    assert check(run, "success_grows_with_eps").verdict == "doubt"


def test_an_unfinished_attack_is_not_compared_over_eps(run: Run) -> None:
    attacked(run, attack(0.1), 130)
    attacked(run, attack(0.2), set(), images=5)
    assert check(run, "success_grows_with_eps").verdict == "not_run"


# one_step_not_better


def test_one_step_that_beats_many_is_doubted(run: Run) -> None:
    attacked(run, attack(0.1), set(range(100)))
    attacked(run, attack(0.1, attack="fgsm", steps=1, step_size=0.1), set(range(50, 112)))
    found = check(run, "one_step_not_better")
    assert (found.verdict, found.value) == ("doubt", 12)  # per image: in total, many steps fool more
    assert "12 of 150 images that hold out against many" in found.meaning
    assert "masked" in found.next_step


@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_is_exact(run: Run, over: int) -> None:
    most = limit("one_step_not_better", IMAGES)
    attacked(run, attack(0.1), 0)
    attacked(run, attack(0.1, attack="fgsm", steps=1, step_size=0.1), most + over)
    assert check(run, "one_step_not_better").verdict == ("doubt" if over else "pass")


@pytest.mark.parametrize("changed", [{"eps": 0.2}, {"norm": "l2"}, {"targeted": "random"}])
def test_one_step_is_compared_at_equal_terms_only(run: Run, changed: dict[str, Any]) -> None:
    attacked(run, attack(0.1), 0)
    attacked(run, attack(**{"eps": 0.1, "attack": "fgsm", "steps": 1, **changed}), 200)
    assert check(run, "one_step_not_better").verdict == "not_run"


def test_one_step_is_compared_on_the_same_images_only(run: Run) -> None:
    attacked(run, attack(0.1), 0)
    attacked(run, attack(0.1, attack="fgsm", steps=1), 200, hash="another split")
    assert check(run, "one_step_not_better").verdict == "not_run"


def test_few_images_say_nothing(run: Run) -> None:
    attacked(run, attack(0.1), 0, images=199)
    attacked(run, attack(0.1, attack="fgsm", steps=1), 199, images=199)
    found = check(run, "one_step_not_better")
    assert found.verdict == "not_run"
    assert "200 images and has 199" in found.meaning


# black_box_not_better, random_noise_finds_nothing


@pytest.mark.parametrize("name", ["square", "spsa", "transfer", "boundary"])
def test_a_black_box_that_breaks_what_no_gradient_did_is_doubted(run: Run, name: str) -> None:
    attacked(run, attack(0.1), set(range(100)))
    attacked(run, other("apgd"), set(range(100, 120)))
    attacked(run, other(name), set(range(130)))
    found = check(run, "black_box_not_better")
    assert (found.verdict, found.value) == ("doubt", 10)  # what apgd broke counts for the gradients too


def test_a_black_box_by_itself_or_beside_one_step_is_compared_with_nothing(run: Run) -> None:
    attacked(run, other("square"), 130)
    attacked(run, attack(0.1, attack="fgsm", steps=1, step_size=0.1), 20)
    assert check(run, "black_box_not_better").verdict == "not_run"


@pytest.mark.parametrize(
    ("name", "options", "check_name", "said"),
    [
        ("square", {"queries": 999}, "black_box_not_better", "square with at least 1,000 queries"),
        ("boundary", {"queries": 120}, "black_box_not_better", "boundary with at least 1,000 queries"),
        ("random_noise", {"draws": 10}, "random_noise_finds_nothing", "random_noise with at least 10,000 draws"),
    ],
)
def test_what_hardly_looked_may_raise_a_doubt_and_passes_nothing(
    run: Run, name: str, options: dict[str, Any], check_name: str, said: str
) -> None:
    attacked(run, attack(0.1), 50)
    attacked(run, other(name, options=options), 40)
    found = check(run, check_name)
    assert (found.verdict, said in found.meaning) == ("not_run", True)
    attacked(run, other(name, options=options, seed=1), 120)
    assert check(run, check_name).verdict == "doubt"


def test_one_black_box_that_looked_hard_enough_is_enough(run: Run) -> None:
    attacked(run, attack(0.1), 50)
    attacked(run, other("square", options={"queries": 100}), 40)
    attacked(run, other("spsa", options={}), 40)
    assert check(run, "black_box_not_better").verdict == "pass"


def test_a_handful_that_held_out_passes_nothing(run: Run) -> None:
    attacked(run, attack(0.1), IMAGES - 2)
    attacked(run, other("square"), 40)
    found = check(run, "black_box_not_better")
    assert (found.verdict, "more images that hold out against gradients than 2" in found.meaning) == ("not_run", True)


def test_what_boundary_found_counts_inside_the_ball_only(run: Run) -> None:
    attacked(run, attack(0.1, norm="l2"), 0)
    attacked(run, other("boundary", None, norm="l2"), 100, distance=0.11)
    assert check(run, "black_box_not_better").verdict == "pass"
    attacked(run, other("boundary", None, norm="l2", seed=1), 100, distance=0.09)
    assert check(run, "black_box_not_better").value == 100


def test_random_noise_that_finds_what_pgd_missed_is_doubted(run: Run) -> None:
    attacked(run, attack(0.1), 100)
    attacked(run, other("random_noise"), 110)
    assert check(run, "random_noise_finds_nothing").verdict == "doubt"
    assert check(run, "black_box_not_better").verdict == "not_run"


NAMED = (
    {"name": "square", "attack": "square", "options": {"queries": 5_000}},
    {"name": "apgd", "attack": "apgd", "options": {}},
)


def suite(run: Run, order: tuple[int, int], by: str, broken: int) -> None:
    settings = other("standard", members=[NAMED[place] for place in order])
    del settings["options"]
    attacked(run, settings, set(range(broken)), broken_by=by)


@pytest.mark.parametrize(("order", "by", "verdict"), [
    ((1, 0), "square", "fail"), ((1, 0), "apgd", "not_run"), ((0, 1), "square", "not_run"),
    ((1, 0), "clean", "not_run"),
])  # fmt: skip
def test_members_of_a_suite_are_compared_on_images_that_both_were_given(run: Run, order, by: str, verdict: str) -> None:
    """What Square broke, a later APGD never saw; what is misclassified as it is, nobody."""
    suite(run, order, by, IMAGES)
    attacked(run, attack(0.2), 0)
    assert check(run, "black_box_not_better").verdict == verdict


def test_images_that_are_misclassified_as_they_are_count_for_nobody(run: Run) -> None:
    attacked(run, other("apgd"), 0, predict_clean=0, predict=0, success=False)
    attacked(run, other("square"), 0, predict_clean=0, predict=0, success=True)
    found = check(run, "black_box_not_better")
    assert (found.verdict, "there were none" in found.meaning) == ("not_run", True)


def test_what_a_gradient_broke_or_was_wrong_before_is_no_reason_not_to_look(run: Run) -> None:
    """A suite on 1,000 images: 801 fall to a gradient, and all that is left to Square."""
    settings = other("standard", members=[NAMED[1], NAMED[0]])
    del settings["options"]
    attacked(run, settings, set(range(801)), images=801, broken_by="apgd")
    attacked(run, settings, set(range(801, 1000)), images=199, start=801, broken_by="square")
    found = check(run, "black_box_not_better")
    assert (found.verdict, found.value) == ("fail", 199)


def test_a_suite_whose_gradient_attack_came_last_proves_nothing(run: Run) -> None:
    """PGD is given what FGSM has left: it can only agree."""
    members = [{"name": "fgsm", "attack": "fgsm", "options": {}}, {"name": "pgd", "attack": "pgd", "options": {}}]
    settings = other("weak", members=members)
    del settings["options"]
    attacked(run, settings, set(range(40)), broken_by="fgsm")
    assert check(run, "one_step_not_better").verdict == "not_run"
    attacked(run, attack(0.1), 10)
    assert check(run, "one_step_not_better").value == 240  # another PGD, which missed all but ten


def test_scores_alone_are_a_black_box(run: Run) -> None:
    attacked(run, smoothed(0.1), 0)
    attacked(run, smoothed(0.1, gradient="stein"), 30)
    assert check(run, "black_box_not_better").value == 30


def test_random_targets_are_compared_where_they_are_the_same(run: Run) -> None:
    attacked(run, attack(0.1, targeted="random"), 0)
    attacked(run, other("square", targeted="random", seed=1), 120)
    assert check(run, "black_box_not_better").verdict == "not_run"
    attacked(run, other("square", targeted="random"), 120)
    assert check(run, "black_box_not_better").value == 120


# survives_rounding


@pytest.mark.parametrize(("lost", "verdict"), [(0, "pass"), (60, "doubt")])
def test_images_that_fool_no_more_once_they_are_saved_are_counted(run: Run, lost: int, verdict: str) -> None:
    on = attack(0.1, early_stop=False)
    attacked(run, on, 100, images=250 - lost, predict_rounded=0)
    attacked(run, on, set(range(250)), images=lost, start=250 - lost, predict_rounded=1)
    found = check(run, "survives_rounding")
    assert (found.verdict, found.value) == (verdict, lost)
    assert f"{lost} of {100 + lost} adversarial points of largest loss" in found.meaning


def test_so_are_those_of_attacks_whose_options_are_in_one_place(run: Run) -> None:
    attacked(run, other("apgd", options={"early_stop": False}), 200, predict_rounded=1)
    assert check(run, "survives_rounding").verdict == "doubt"


def test_an_attack_that_ends_at_the_boundary_may_end_between_two_images(run: Run) -> None:
    attacked(run, other("ddn", None, norm="l2"), 200, predict_rounded=1)
    attacked(run, attack(0.1), 200, predict_rounded=1)
    assert check(run, "survives_rounding").verdict == "not_run"


def test_a_vote_that_abstains_has_not_fallen(run: Run) -> None:
    attacked(run, smoothed(0.1), 0)
    attacked(run, smoothed(0.1, attack="fgsm", steps=1, step_size=0.1), 0, predict=-1, correct=False, success=True)
    assert check(run, "one_step_not_better").verdict == "pass"
