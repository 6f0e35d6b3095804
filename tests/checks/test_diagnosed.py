"""Every sign is doubted where many images show it, and by its own check alone."""

from typing import Any

import pytest
from written import attack, attacked, certified, diagnosed, smoothed

from gambeson.checks import model_contract, run_checks
from gambeson.checks.check import Count, counted
from gambeson.checks.diagnosed import SIGNS
from gambeson.checks.thresholds import ALLOWED, LEAST, VOID, limit
from gambeson.models.flag import doubt
from gambeson.records import Run

LISTED = ("steps", "step_size", "step_rule", "loss", "restarts", "random_start", "early_stop", "step_rule_settings")
HELD = {"after_steps": None, "after_restarts": None}
PLANTED: dict[str, dict[str, Any]] = {
    "one_step_not_better": {"one_step": True, **HELD},
    "black_box_not_better": {"black_box": "square"},
    "random_noise_finds_nothing": {"random_noise": True},
    "unlimited_attack_succeeds": {"unlimited": True},
    "success_grows_with_eps": {"by_eps": [False, True, False, True]},
    "gradients_available": {"unavailable": True},
    "predictions_stable": {"unstable": 0.6},
    "no_silent_success": {"silent": True},
    "optimisation_complete": {"incomplete": 0.2},
    "attacks_transfer": {"fooled": True, "fooled_again": False},
    "steps_converged": {"after_steps": 501},
    "restarts_converged": {"after_restarts": 11},
    "survives_rounding": {"fooled_rounded": False},
}


ABLE = {  # of 250 images, those that could show the sign
    **dict.fromkeys(("one_step_not_better", "black_box_not_better", "random_noise_finds_nothing"), 200),
    **dict.fromkeys(("unlimited_attack_succeeds", "optimisation_complete"), 200),
    **dict.fromkeys(("attacks_transfer", "survives_rounding"), 130),
}  # fmt: skip


def verdicts(run: Run) -> dict[str, str]:
    return {check.check: check.verdict for check in run_checks(run)}


def test_without_records_nothing_is_claimed(run: Run) -> None:
    found = verdicts(run)
    assert found.pop("model_contract") == "pass"
    assert set(found.values()) == {"not_run"}
    assert len(found) == len(SIGNS) + 5
    for check in run_checks(run):
        assert check.meaning
        assert check.next_step
        assert check.record()["check"] == check.check


def test_an_honest_run_passes(run: Run) -> None:
    certified(run, radius=0.3)
    attacked(run, smoothed(0.2), fooled=0)
    attacked(run, smoothed(0.6), fooled=30)  # beyond the radius, attacks may succeed
    for eps, fooled in ((0.0, 2), (0.1, 100), (0.2, 200)):
        attacked(run, attack(eps), fooled)
    attacked(run, attack(0.1, attack="fgsm", steps=1, step_size=0.1), fooled=75)
    diagnosed(run)
    found = verdicts(run)
    assert found.pop("dlr_has_classes") == found.pop("attacks_transfer") == "not_run"
    assert set(found.values()) == {"pass"}


def test_every_sign_has_a_limit_and_is_planted() -> None:
    assert set(SIGNS) == set(ALLOWED) == set(PLANTED)


VOTED = {"target": "smoothed", "noise": "gaussian:0.5", "attack_draws": 16, "predict_draws": 1000}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_sign_is_doubted_by_its_own_check(run: Run, name: str) -> None:
    diagnosed(run, PLANTED[name], **(VOTED if name == "attacks_transfer" else {}))
    found = verdicts(run)
    assert [check for check, verdict in found.items() if verdict in ("doubt", "fail")] == [name]
    [check] = [one for one in run_checks(run) if one.check == name]
    able = ABLE.get(name, 250)
    assert (check.verdict, check.value, check.threshold) == ("doubt", 80, limit(name, able))
    assert f"80 of {able} " in check.meaning
    assert "linf eps 0.1" in check.meaning
    assert check.next_step != "None needed."


def test_a_small_diagnosis_says_nothing(run: Run) -> None:
    diagnosed(run, PLANTED["no_silent_success"], images=199)
    [check] = [one for one in run_checks(run) if one.check == "no_silent_success"]
    assert check.verdict == "not_run"
    assert "200 images and has 199" in check.meaning


def test_an_unfinished_diagnosis_says_nothing(run: Run) -> None:
    diagnosed(run, PLANTED["no_silent_success"], written=220)
    [check] = [one for one in run_checks(run) if one.check == "no_silent_success"]
    assert check.verdict == "not_run"
    assert "a diagnosis that is finished" in check.meaning


LEAST_OF = {"one_step_not_better": ("steps", "restarts"), "black_box_not_better": ("queries",),
            "random_noise_finds_nothing": ("noise_draws",), "steps_converged": ("steps",),
            "restarts_converged": ("restarts",)}  # fmt: skip


@pytest.mark.parametrize(("name", "of"), [(name, of) for name, every in LEAST_OF.items() for of in every])
def test_who_hardly_looked_has_found_nothing(run: Run, name: str, of: str) -> None:
    diagnosed(run, budget={of: LEAST[of] - 1})
    [check] = [one for one in run_checks(run) if one.check == name]
    assert check.verdict == "not_run"
    assert f"at least {LEAST[of]:,} {of.replace('_', ' ')}" in check.meaning
    assert {SIGNS[one].looked for one in SIGNS} == {(), *LEAST_OF.values()}


@pytest.mark.parametrize("name", SIGNS)
def test_most_of_the_images_that_could_show_a_sign_void_the_number(run: Run, name: str) -> None:
    diagnosed(run, PLANTED[name], all_alike=True, **(VOTED if name == "attacks_transfer" else {}))
    [check] = [one for one in run_checks(run) if one.check == name]
    assert check.verdict == ("fail" if name in VOID else "doubt")


def test_few_images_that_hold_out_are_enough_to_show_a_sign(run: Run) -> None:
    """Accuracy under attack 4 %, and a black box breaks all of these ten."""
    attacked(run, attack(0.1), set(range(240)))
    square = {name: value for name, value in attack(0.1, attack="square", options={}).items() if name not in LISTED}
    attacked(run, square, set(range(240, 250)))
    [check] = [one for one in run_checks(run) if one.check == "black_box_not_better"]
    assert (check.verdict, check.value) == ("fail", 10)


def judged(*counts: tuple[int, int, int]) -> tuple[str, str]:
    every = [Count(bad, able, images, f"count {place}") for place, (bad, able, images) in enumerate(counts)]
    found = counted("black_box_not_better", every, needs="", meaning="fall", next_step="look")
    return found.verdict, found.meaning


def test_the_worst_verdict_on_any_count_decides() -> None:
    """More evidence does not soften it, and a count of nothing is none."""
    assert judged((20, 20, 200))[0] == "fail"
    assert judged((30, 200, 200), (20, 20, 200)) == ("fail", "20 of 20 images fall (count 1).")
    assert judged((0, 0, 200), (7, 200, 200)) == ("pass", "7 of 200 images fall (count 1).")


def test_a_handful_voids_nothing_and_none_say_nothing() -> None:
    assert [judged((bad, able, 200))[0] for bad, able in ((2, 2), (3, 4), (9, 9))] == ["doubt"] * 3
    verdict, meaning = judged((0, 0, 200))
    assert (verdict, "there were none (count 0)" in meaning) == ("not_run", True)


def test_so_few_that_half_of_them_would_raise_no_doubt_say_nothing() -> None:
    """Three of 11 that fall are a doubt where 1 % may; half of 11 are less than that once in 30, of ten once in 18."""
    able = ((0, 1), (1, 1), (0, 2), (0, 10), (0, 11))
    assert [judged((bad, of, 200))[0] for bad, of in able] == [*["not_run"] * 4, "pass"]
    assert [judged((bad, 11, 200))[0] for bad in (2, 3)] == ["pass", "doubt"]
    assert "more images than 1 (count 0)" in judged((0, 1, 200))[1]


def test_images_without_a_gradient_say_nothing_of_what_follows_it(run: Run) -> None:
    diagnosed(run, {"unavailable": True}, all_alike=True)
    found = verdicts(run)
    follow = ("no_silent_success", "optimisation_complete", "steps_converged", "restarts_converged")
    assert [found[name] for name in ("gradients_available", *follow)] == ["fail", *["not_run"] * 4]


def test_who_asks_for_votes_without_noise_is_told(run: Run) -> None:
    diagnosed(run)
    [check] = [one for one in run_checks(run) if one.check == "attacks_transfer"]
    assert (check.verdict, "a smoothed classifier (`--noise`)" in check.meaning) == ("not_run", True)


@pytest.mark.parametrize(("after", "budget", "late"), [(1, 1, False), (3, 5, False), (4, 5, True), (10, 20, False)])
def test_what_falls_when_a_budget_is_doubled(after: int, budget: int, late: bool) -> None:
    """Five are three doubled, as far as they go; one is nothing doubled."""
    record = {"one_step": False, "after_restarts": after}
    assert SIGNS["restarts_converged"].shows(record, {"budget": {"restarts": budget}}) == late


def test_what_needs_a_gradient_is_not_told_without_one(run: Run) -> None:
    needs = ("one_step", "after_steps", "after_restarts", "by_eps", "silent", "incomplete", "unlimited")
    blind = dict.fromkeys((*needs, "gamma", "loss")) | {"unavailable": True, "black_box": "square"}
    diagnosed(run, blind, images=250)
    found = verdicts(run)
    assert found["gradients_available"] == found["black_box_not_better"] == "doubt"
    assert not {"doubt", "fail"} & {
        found[name] for name in SIGNS if name not in ("gradients_available", "black_box_not_better")
    }


def test_a_model_without_gradients_has_points_of_none(run: Run) -> None:
    needs = ("one_step", "after_steps", "after_restarts", "by_eps", "silent", "incomplete", "unlimited")
    fields = ("gamma", "loss", "fooled", "fooled_again", "fooled_rounded")
    diagnosed(run, dict.fromkeys((*needs, *fields)), images=200, all_alike=True)
    [check] = [one for one in run_checks(run) if one.check == "survives_rounding"]
    assert (check.verdict, "a gradient, which this model does not have" in check.meaning) == ("not_run", True)


@pytest.mark.parametrize("name", ["steps_converged", "restarts_converged"])
def test_an_accuracy_has_converged_that_changes_by_less_than_half_a_point(name: str) -> None:
    for images in (200, 250, 399, 400, 401, 1_000, 10_000):
        most = limit(name, images, looks=3)
        assert most / images < 0.005 <= (most + 1) / images


def test_each_of_several_looks_doubts_more_rarely() -> None:
    assert limit("predictions_stable", 200, looks=20) > limit("predictions_stable", 200)


def test_the_worst_of_several_diagnoses_counts(run: Run) -> None:
    diagnosed(run)
    diagnosed(run, PLANTED["black_box_not_better"], eps=0.2)
    diagnosed(run, eps=0.3)
    [check] = [one for one in run_checks(run) if one.check == "black_box_not_better"]
    assert check.verdict == "doubt"
    assert "eps 0.2" in check.meaning


def test_doubts_about_the_model_are_told(run: Run) -> None:
    check = model_contract([doubt("probabilities", "remove the last softmax")])
    assert (check.verdict, check.value, check.meaning) == ("doubt", 1, "remove the last softmax")
    assert model_contract([]).verdict == "pass"
    assert run_checks(run, flags=[doubt("a", "b")])[0].verdict == "doubt"
