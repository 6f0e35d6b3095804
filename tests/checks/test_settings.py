"""Settings that make attacks weak are doubted, usual ones are not."""

import pytest
from written import HEADER, attack, attacked, diagnosed

from gambeson.checks.settings import dlr_has_classes, eps_in_pixel_units, step_size_within_eps, steps_span_the_ball
from gambeson.records import Run


def test_a_step_longer_than_the_ball_is_doubted(run: Run) -> None:
    attacked(run, attack(0.1), 5)
    assert step_size_within_eps(run).verdict == "pass"
    attacked(run, attack(0.1, step_size=0.15), 5)
    check = step_size_within_eps(run)
    assert (check.verdict, check.value, check.threshold) == ("doubt", pytest.approx(1.5), 1)
    assert "eps/10" in check.next_step


def test_steps_at_eps_zero_and_of_one_step_attacks_do_not_count(run: Run) -> None:
    attacked(run, attack(0.0, step_size=1.0), 5)
    attacked(run, attack(0.1, attack="fgsm", step_size=0.125), 5)
    assert step_size_within_eps(run).verdict == "not_run"


@pytest.mark.parametrize("settings", [
    {"options": {"inner": "pgd", "of": {"steps": 20, "step_size": 0.2}}},
    {"members": [{"name": "a", "attack": "pgd", "options": {"steps": 20, "step_size": 0.2}}]},
    {"members": [{"name": "a", "attack": "multi_targeted",
                  "options": {"inner": "pgd", "of": {"steps": 20, "step_size": 0.2}}}]},
])  # fmt: skip
def test_steps_are_found_wherever_an_attack_takes_them(run: Run, settings) -> None:
    gone = ("steps", "step_size", "step_rule", "loss", "restarts", "random_start", "early_stop", "step_rule_settings")
    usual = {key: value for key, value in attack(0.1, attack="another").items() if key not in gone}
    attacked(run, {**usual, **settings}, 5, **({"broken_by": None} if "members" in settings else {}))
    assert (step_size_within_eps(run).verdict, step_size_within_eps(run).value) == ("doubt", pytest.approx(2))


def test_too_few_steps_are_doubted(run: Run) -> None:
    attacked(run, attack(0.1, steps=3), fooled=5)
    check = steps_span_the_ball(run)
    assert (check.verdict, round(check.value or 0, 6)) == ("doubt", 0.3)


def test_twenty_steps_of_a_tenth_pass(run: Run) -> None:
    attacked(run, attack(0.1, steps=20), fooled=5)
    assert steps_span_the_ball(run).verdict == "pass"


@pytest.mark.parametrize("eps", [8 / 255, 0.1, 0.3, 0.25, 0.5, 1.0, 0.031, 2 / 255, 0.05])
def test_usual_eps_pass(run: Run, eps: float) -> None:
    attacked(run, attack(eps), 5)
    assert eps_in_pixel_units(run, std=[0.2470, 0.2435, 0.2616]).verdict == "pass"


@pytest.mark.parametrize(
    ("eps", "std", "what"),
    [(8 / 256, (), "8/256"), (2 / 256, (), "2/256"), (0.3246, (0.3081,), "divided by 0.3081"),
     (8 / 255 / 0.2023, (0.2023, 0.1994, 0.2010), "divided by 0.2023")],
)  # fmt: skip
def test_eps_in_other_units_are_doubted(run: Run, eps: float, std: tuple[float, ...], what: str) -> None:
    attacked(run, attack(eps), 5)
    check = eps_in_pixel_units(run, std)
    assert (check.verdict, check.value) == ("doubt", 1)
    assert what in check.meaning


def test_whole_levels_of_the_data_are_no_other_unit(tmp_path) -> None:
    """The embedded digits have 16."""
    run = Run.create(tmp_path / "run", {**HEADER, "levels": 16})
    attacked(run, attack(1 / 16), 5)
    assert eps_in_pixel_units(run).verdict == "pass"


def test_a_diagnosis_has_units_too(run: Run) -> None:
    diagnosed(run, eps=8 / 256)
    assert eps_in_pixel_units(run).verdict == "doubt"


def test_other_norms_have_other_units(run: Run) -> None:
    attacked(run, attack(8 / 256, norm="l2"), 5)
    assert eps_in_pixel_units(run).verdict == "not_run"


@pytest.mark.parametrize(("classes", "suite", "verdict"), [
    (3, "standard", "doubt"), (4, "standard", "pass"), (3, "rand", "pass"), (2, "rand", "doubt"),
])  # fmt: skip
def test_dlr_needs_classes(tmp_path, classes: int, suite: str, verdict: str) -> None:
    run = Run.create(tmp_path / "run", {**HEADER, "classes": [str(each) for each in range(classes)]})
    assert dlr_has_classes(run).verdict == "not_run"
    gone = dict.fromkeys(("steps", "step_size", "step_rule", "loss", "restarts", "random_start", "early_stop"))
    settings = {key: value for key, value in attack(0.1, attack=suite).items() if key not in gone}
    attacked(run, {**settings, "members": []}, 5, broken_by=None)
    assert dlr_has_classes(run).verdict == verdict
