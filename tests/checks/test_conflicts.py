"""A certificate and an attack that contradict each other."""

from typing import Any

import pytest
from scipy.stats import binom
from written import CERTIFIED, FORM, IMAGES, attack, attacked, certified, smoothed

from gambeson.checks import certified_not_above_attacked
from gambeson.records import Run


def test_attacks_on_the_vote_say_nothing_of_the_soft_smoothed_classifier(run: Run) -> None:
    """The same numbers that would be a conflict for the vote."""
    attacked(run, smoothed(0.3), fooled=20)
    bins = {"octaves": 20, "steps": 32}
    certified(run, radius=0.5, settings={**CERTIFIED, "smoothing": "soft", "score_bins": bins}, scores=[100])
    assert certified_not_above_attacked(run, lambda evaluation, index: 0).verdict == "not_run"
    certified(run, radius=0.5)
    assert certified_not_above_attacked(run, lambda evaluation, index: 0).verdict == "fail"


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
