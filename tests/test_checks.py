"""Checks: each passes on honest records and fires on planted fraud, written through the writer that real runs use."""

from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binom

from gambeson.checks import (
    certified_not_above_attacked,
    model_contract,
    one_step_not_better,
    run_checks,
    step_size_within_eps,
    steps_span_the_ball,
    success_grows_with_eps,
)
from gambeson.models.flag import doubt
from gambeson.records import Run

HEADER: dict[str, Any] = {
    "name": "run", "method": None, "method_settings": None, "dataset": "toy", "model": None, "classes": ["a", "b"],
    "shape": [1, 2, 2], "levels": 255, "seed": None, "model_hash": "m", "data_hash": None, "versions": {},
    "device": "cpu", "threads": 1,
}  # fmt: skip
DATA = {"dataset": "toy", "split": "test", "rule": "all test images", "levels": 255, "fingerprint": "f"}
FORM = {"dtype": "float32", "memory": "contiguous", "batch": 100, "threads": 1, "device": "cpu"}
CERTIFIED: dict[str, Any] = {
    "noise": "gaussian:0.5", "select_draws": 10, "draws": 100, "alpha": 0.001, "budget": "fixed", "seed": 0,
    "block": 100, "form": FORM, "tau": 1e-9, "max_radius": {"gaussian_l2": 1.0}, "rounding_distance": {"l2": 0.1},
}  # fmt: skip
IMAGES = 50


def attack(eps: float = 0.1, **changed: Any) -> dict[str, Any]:
    settings = {
        "attack": "pgd", "target": "base", "norm": "linf", "eps": eps, "steps": 20, "step_size": eps / 10,
        "step_rule": "sign", "loss": "cross_entropy", "restarts": 1, "random_start": True, "early_stop": True,
        "step_rule_settings": {}, "targets_hash": None, "batch": 50,
        "projection": "exact", "box": (0.0, 1.0), "targeted": None, "noise": None, "attack_draws": None,
        "redraw": None, "predict_draws": None, "predict_alpha": None, "seed": 0, "form": None,
    }  # fmt: skip
    return {**settings, **changed}


def smoothed(eps: float = 0.3, **changed: Any) -> dict[str, Any]:
    more = {"target": "smoothed", "noise": "gaussian:0.5", "attack_draws": 16, "redraw": False, "predict_draws": 1000}
    return attack(eps, **{"norm": "l2", **more, "predict_alpha": 0.001, "form": FORM, **changed})


def common(index: int) -> dict[str, Any]:
    return {"index": index, "hash": f"hash {index}", "label": 1, "seconds": 0.1}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", HEADER)


def write(
    run: Run, kind: str, settings: dict[str, Any], records: list[dict[str, Any]], machine: dict[str, Any] | None = None
):
    with run.writing() as writer:
        evaluation = writer.evaluation(kind, settings, DATA, IMAGES, "gambeson", "2026-01-01T00:00:00", machine)
        for record in records:
            evaluation.append(record)


def attacked(
    run: Run, settings: dict[str, Any], fooled: int | set[int], images: int = IMAGES, start: int = 0,
    machine: dict[str, Any] | None = None, **changed,
):  # fmt: skip
    """Records of an attack that fools the first so many images, or these."""
    chosen = set(range(fooled)) if isinstance(fooled, int) else fooled
    records = []
    for index in range(start, start + images):
        success = index in chosen
        fields = {"predict_clean": 1, "predict": 0 if success else 1, "correct": not success, "success": success}
        fields |= {"loss": 1.0, "distance": settings["eps"] * 0.99, "target": None}
        records.append({**common(index), **fields, **changed})
    write(run, "attacked", settings, records, machine)


def certified(
    run: Run, radius: float = 0.5, settings: dict[str, Any] | None = None, machine: dict[str, Any] | None = None,
    **changed: Any,
) -> None:  # fmt: skip
    radii = {"gaussian_l2": radius, "renyi_l2": radius / 2, "gaussian_l2_two_sided": 9.0}
    fields = {
        "predict": 1,
        "correct": True,
        "reason": None,
        "selected": 1,
        "select_counts": [0, 10],
        "counts": [0, 100],
    }
    fields |= {"nonfinite": 0, "p_lower": 0.9, "p_lower_two_sided": 0.9, "p_upper_two_sided": 0.1}
    fields |= {"radii": {**radii, "gaussian_l2": radius + 1}, "radii_real": radii}
    records = [{**common(i), **fields, **changed} for i in range(IMAGES)]
    write(run, "certified", settings or CERTIFIED, records, machine)


def test_without_records_nothing_is_claimed(run: Run) -> None:
    verdicts = {check.check: check.verdict for check in run_checks(run)}
    assert verdicts.pop("model_contract") == "pass"
    assert set(verdicts.values()) == {"not_run"}
    assert len(verdicts) == 5
    for check in run_checks(run):
        assert check.meaning
        assert check.next_step
        assert check.record()["check"] == check.check


def test_attacks_on_the_vote_say_nothing_of_the_soft_smoothed_classifier(run: Run) -> None:
    """The same numbers that would be a conflict for the vote."""
    attacked(run, smoothed(0.3), fooled=20)
    bins = {"octaves": 20, "steps": 32}
    certified(run, radius=0.5, settings={**CERTIFIED, "smoothing": "soft", "score_bins": bins}, scores=[100])
    assert certified_not_above_attacked(run, lambda evaluation, index: 0).verdict == "not_run"
    certified(run, radius=0.5)
    assert certified_not_above_attacked(run, lambda evaluation, index: 0).verdict == "fail"


def test_an_honest_run_passes(run: Run) -> None:
    certified(run, radius=0.3)
    attacked(run, smoothed(0.2), fooled=0)
    attacked(run, smoothed(0.6), fooled=30)  # beyond the radius, attacks may succeed
    for eps, fooled in ((0.0, 2), (0.1, 20), (0.2, 40)):
        attacked(run, attack(eps), fooled)
    attacked(run, attack(0.1, attack="fgsm", steps=1, step_size=0.1), fooled=15)
    assert {check.check: check.verdict for check in run_checks(run)} == dict.fromkeys(
        (
            "model_contract",
            "certified_not_above_attacked",
            "success_grows_with_eps",
            "one_step_not_better",
            "step_size_within_eps",
            "steps_span_the_ball",
        ),
        "pass",
    )


# certified_not_above_attacked


def another_class(evaluation: dict[str, Any], index: int) -> int:
    return 9


@pytest.mark.parametrize("order", [(0.2, 0.3), (0.3, 0.2)])
@pytest.mark.parametrize(("unkept", "verdict"), [(True, ("doubt", 0)), (False, ("pass", 0))])
def test_a_conflict_that_nobody_could_judge_is_not_cleared_by_another_attack(run, order, unkept, verdict) -> None:
    """Two attacks on the same images; one's images are innocent on fresh noise, the other's were not kept."""

    def judge(evaluation: dict[str, Any], index: int) -> int | None:
        return None if unkept and evaluation["settings"]["eps"] == 0.3 else 1

    certified(run, radius=0.5)
    for eps in order:
        attacked(run, smoothed(eps), fooled=10)
    check = certified_not_above_attacked(run, judge)
    assert (check.verdict, check.value) == verdict
    assert f"{10 if unkept else 0} that could not be judged" in check.meaning


EXACT: dict[str, Any] = {
    "settings": {
        **CERTIFIED, "noise": "splitting:1", "select_draws": 0, "alpha": 0.0, "budget": "exact", "tau": 0.0,
        "max_radius": {"splitting_l1": 1.0},
    },
    "radii": {"splitting_l1": 0.5}, "radii_real": {"splitting_l1": 0.4}, "select_counts": [], "radius_kind": "exact",
}  # fmt: skip


@pytest.mark.parametrize("judge", [None, another_class, lambda evaluation, index: 1])
@pytest.mark.parametrize(("fooled", "verdict"), [(0, "pass"), (1, "fail")])
def test_where_nothing_is_random_the_first_conflict_fails(run, judge, fooled, verdict) -> None:
    """An image that nobody kept or that is innocent on other noise is no excuse: there is no other noise."""
    certified(run, **EXACT)
    attacked(run, smoothed(0.3, norm="l1", noise="splitting:1", predict_alpha=0.0), fooled=fooled)
    attacked(run, smoothed(0.5, norm="l1", noise="splitting:1", predict_alpha=0.0), fooled=20)  # beyond it, attacks may
    check = certified_not_above_attacked(run, judge)
    assert (check.verdict, check.value, check.threshold) == (verdict, fooled, 0)


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [({"threads": 8}, ("fail", 1, 0)), ({"processor": "another"}, ("doubt", 0, 1)), ({"unit": "x"}, ("doubt", 0, 1))],
)
def test_votes_that_two_kinds_of_machine_counted_are_no_proof(run: Run, changed: dict, verdict: tuple) -> None:
    """The last bits of logits decide votes. Threads are those of the gradients; the form that judged has its own."""
    machine = {"device": "cpu", "threads": 1, "unit": "abacus", "processor": "wood"}
    certified(run, machine=machine, **EXACT)
    settings = smoothed(0.3, norm="l1", noise="splitting:1", predict_alpha=0.0)
    attacked(run, settings, fooled=1, machine={**machine, **changed})
    check = certified_not_above_attacked(run, another_class)
    assert (check.verdict, check.value) == verdict[:2]
    assert f"{verdict[2]} that could not be judged again" in check.meaning


def test_a_radius_above_an_attack_fails(run: Run) -> None:
    certified(run, radius=0.5)
    attacked(run, smoothed(0.3), fooled=30)
    check = certified_not_above_attacked(run, another_class)
    assert (check.verdict, check.value) == ("fail", 30)
    assert "unsound" in check.next_step


@pytest.mark.parametrize("extra", [0, 1])
def test_conflicts_fail_beyond_what_alpha_allows(run: Run, extra: int) -> None:
    allowed = int(binom.isf(1e-6, IMAGES, 0.001))
    assert binom.sf(allowed, IMAGES, 0.001) <= 1e-6 < binom.sf(allowed - 1, IMAGES, 0.001)
    certified(run)
    attacked(run, smoothed(), fooled=allowed + extra)
    check = certified_not_above_attacked(run, another_class)
    assert (check.verdict, check.value, check.threshold) == ("fail" if extra else "pass", allowed + extra, allowed)


def test_fresh_noise_decides(run: Run) -> None:
    certified(run)
    attacked(run, smoothed(), fooled=30)
    asked = []

    def rejudge(evaluation: dict[str, Any], index: int) -> int | None:
        asked.append((evaluation["settings"]["attack"], index))
        return {0: 1, 1: -1, 2: None}.get(index % 4, 0)  # the certified class, an abstention, unknown, another class

    check = certified_not_above_attacked(run, rejudge)
    assert asked == [("pgd", index) for index in range(30)]
    assert check.value == sum(index % 4 == 3 for index in range(30))
    assert check.verdict == "fail"


def test_conflicts_that_cannot_be_judged_again_are_a_doubt(run: Run) -> None:
    certified(run)
    attacked(run, smoothed(), fooled=30)
    check = certified_not_above_attacked(run)
    assert (check.verdict, check.value) == ("doubt", 0)
    assert "30 that could not be judged again" in check.meaning


def test_an_image_in_conflict_with_two_attacks_counts_once(run: Run) -> None:
    certified(run)
    attacked(run, smoothed(0.3), fooled=30)
    attacked(run, smoothed(0.2), fooled=30)
    assert certified_not_above_attacked(run, another_class).value == 30


@pytest.mark.parametrize(
    "settings",
    [
        attack(0.3, norm="l2"), smoothed(0.3, noise="gaussian:0.25"),
        smoothed(0.3, form={**FORM, "dtype": "bfloat16"}),
    ],
    ids=["base classifier", "other noise", "other form"],
)  # fmt: skip
def test_other_classifiers_are_not_compared(run: Run, settings: dict[str, Any]) -> None:
    certified(run)
    attacked(run, settings, fooled=40)
    assert certified_not_above_attacked(run).verdict == "not_run"


def lengths(linf: float, l2: float, l1: float) -> dict[str, dict[str, float]]:
    return {"distances": {"linf": linf, "l2": l2, "l1": l1}}


@pytest.mark.parametrize(
    ("norm", "changed", "conflict"),
    [
        # What is recorded in the certificate's norm decides, whatever the attack's own norm is.
        ("linf", lengths(0.3, 0.499, 0.9), True), ("linf", lengths(0.3, 0.5, 0.9), False),
        ("l1", lengths(0.3, 0.4, 0.7), True), ("l1", lengths(0.6, 0.6, 0.6), False),
        # Older records hold the attack's own norm: 4 values of e are 2 e in l2; l1 is never shorter than l2.
        ("linf", {"distance": 0.2499}, True), ("linf", {"distance": 0.25}, False),
        ("l1", {"distance": 0.4999}, True), ("l1", {"distance": 0.5}, False),
    ],
)  # fmt: skip
def test_an_attack_in_another_norm_is_compared_in_the_certificate_s(run: Run, norm, changed, conflict) -> None:
    certified(run, radius=0.5)
    attacked(run, smoothed(0.3, norm=norm), fooled=40, **changed)
    check = certified_not_above_attacked(run, another_class)
    assert (check.verdict, check.value) == (("fail", 40) if conflict else ("pass", 0))


def test_an_attack_in_l2_is_compared_with_a_radius_in_l1(run: Run) -> None:
    """4 values of l2 length e have at most 2 e in l1: a radius of 0.5 covers them below 0.25."""
    settings = {**CERTIFIED, "noise": "laplace:0.5", "max_radius": {"laplace_l1": 1.0}}
    radii = {"laplace_l1": 0.5, "laplace_l1_two_sided": 9.0}
    certified(run, settings=settings, radii=radii, radii_real=radii)
    attacked(run, smoothed(0.3, noise="laplace:0.5"), fooled=40, distance=0.25)
    assert certified_not_above_attacked(run, another_class).value == 0
    attacked(run, smoothed(0.2, noise="laplace:0.5"), fooled=40, distance=0.2499)
    assert certified_not_above_attacked(run, another_class).value == 40


@pytest.mark.parametrize(
    "changed",
    [{"predict": -1, "success": True}, {"distance": 0.5}, {"hash": "another image"}, {"predict": 1}],
    ids=["abstains", "at the radius", "another image", "the same class"],
)
def test_what_is_no_conflict(run: Run, changed: dict[str, Any]) -> None:
    certified(run)
    attacked(run, smoothed(), fooled=40, **changed)
    assert certified_not_above_attacked(run).verdict != "fail"


def test_the_attack_counts_against_the_selected_class_not_the_label(run: Run) -> None:
    """A certificate of a wrong class is a certificate: an attack that moves it is a conflict."""
    certified(run, selected=0, predict=0, correct=False)
    attacked(run, smoothed(), fooled=0)  # predicts 1, the label, inside the radius
    assert certified_not_above_attacked(run, lambda evaluation, index: 1).value == IMAGES


# success_grows_with_eps


def test_accuracy_that_rises_with_eps_is_doubted(run: Run) -> None:
    for eps, fooled in ((0.0, 2), (0.1, 30), (0.2, 25), (0.4, 50)):
        attacked(run, attack(eps), fooled)
    check = success_grows_with_eps(run)
    assert check.verdict == "doubt"
    assert check.value == pytest.approx(5 / IMAGES)


def test_different_attacks_are_not_compared_over_eps(run: Run) -> None:
    attacked(run, attack(0.1), 30)
    attacked(run, attack(0.2, norm="l2"), 10)
    attacked(run, attack(0.3, steps=1), 5)
    attacked(run, smoothed(0.4, norm="linf"), 5)
    assert success_grows_with_eps(run).verdict == "not_run"


def test_of_several_step_sizes_at_one_eps_the_strongest_counts(run: Run) -> None:
    attacked(run, attack(0.1), 30)
    attacked(run, attack(0.1, step_size=1e-6), 3)
    attacked(run, attack(0.2), 40)
    assert success_grows_with_eps(run).verdict == "pass"
    attacked(run, attack(0.1, step_size=0.05), 45)
    assert success_grows_with_eps(run).verdict == "doubt"


def test_an_unfinished_attack_is_not_compared(run: Run) -> None:
    attacked(run, attack(0.1), 30)
    attacked(run, attack(0.2), set(), images=5)
    assert success_grows_with_eps(run).verdict == "not_run"


# one_step_not_better


def test_one_step_that_beats_many_is_doubted(run: Run) -> None:
    attacked(run, attack(0.1), set(range(10)))
    attacked(run, attack(0.1, attack="fgsm", steps=1, step_size=0.1), set(range(5, 12)))
    check = one_step_not_better(run)
    assert (check.verdict, check.value) == ("doubt", 2 / IMAGES)  # per image: in total, many steps fool more
    assert "masked" in check.next_step


@pytest.mark.parametrize("changed", [{"eps": 0.2}, {"norm": "l2"}, {"targeted": "random"}])
def test_one_step_is_compared_at_equal_terms_only(run: Run, changed: dict[str, Any]) -> None:
    attacked(run, attack(0.1), 0)
    attacked(run, attack(**{"eps": 0.1, "attack": "fgsm", "steps": 1, **changed}), 40)
    assert one_step_not_better(run).verdict == "not_run"


def test_one_step_is_compared_on_the_same_images_only(run: Run) -> None:
    attacked(run, attack(0.1), 0)
    attacked(run, attack(0.1, attack="fgsm", steps=1), 40, hash="another split")
    assert one_step_not_better(run).verdict == "not_run"


# step_size_within_eps


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


def test_doubts_about_the_model_are_told(run: Run) -> None:
    check = model_contract([doubt("probabilities", "remove the last softmax")])
    assert (check.verdict, check.value, check.meaning) == ("doubt", 1, "remove the last softmax")
    assert model_contract([]).verdict == "pass"
    assert run_checks(run, flags=[doubt("a", "b")])[0].verdict == "doubt"


# steps_span_the_ball


def test_too_few_steps_are_doubted(run: Run) -> None:
    attacked(run, attack(0.1, steps=3), fooled=5)
    check = steps_span_the_ball(run)
    assert (check.verdict, round(check.value or 0, 6)) == ("doubt", 0.3)


def test_twenty_steps_of_a_tenth_pass(run: Run) -> None:
    attacked(run, attack(0.1, steps=20), fooled=5)
    assert steps_span_the_ball(run).verdict == "pass"
