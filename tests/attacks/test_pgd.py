"""PGD: exact on linear models, no weaker than foolbox, and its bookkeeping per image."""

import math

import numpy as np
import pytest
import torch
from linear import linear, nearest
from scipy.optimize import linprog

from gambeson.attacks import pgd, search
from gambeson.attacks.objectives import fooled, objective
from gambeson.errors import UserError
from gambeson.smoothed import soft
from gambeson.types import NORMS, Ball, Box

STEEPEST = [("linf", rule) for rule in ("sign", "normalised", "momentum", "adam")]
STEEPEST += [("l2", "normalised"), ("l2", "momentum"), ("l1", "sign"), ("l1", "normalised"), ("l1", "momentum")]


@pytest.mark.parametrize(("norm", "rule"), STEEPEST)
@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
def test_linear_model_falls_exactly_at_its_distance(norm, rule, loss):
    logits, weight, x, y = linear()
    for row, radius in enumerate(nearest(logits, weight, x, y, norm).values.tolist()):
        assert radius < 0.4  # the box is out of reach
        for factor, expected in ((1.01, True), (0.99, False)):
            one = slice(row, row + 1)
            ball = Ball(norm, factor * radius)
            result = pgd(
                logits, x[one], y[one], ball=ball, steps=100, step_size=ball.eps / 3, step_rule=rule, loss=loss
            )
            assert result.success.item() is expected, (row, radius, factor)


@pytest.mark.parametrize("norm", NORMS)
def test_linear_model_with_more_classes_and_targets(norm):
    logits, weight, x, y = linear(classes=4)
    radii, others = nearest(logits, weight, x, y, norm)
    for row, (radius, target) in enumerate(zip(radii.tolist(), others.tolist(), strict=True)):
        one, goal = slice(row, row + 1), torch.tensor([target])
        for factor in (1.01, 0.99):
            ball = Ball(norm, factor * radius)
            attack = {"ball": ball, "loss": "margin", "steps": 100, "step_size": ball.eps / 10}
            assert pgd(logits, x[one], y[one], targets=goal, **attack).success == (factor > 1)
            assert factor > 1 or not pgd(logits, x[one], y[one], restarts=3, **attack).success


@pytest.mark.parametrize("norm", NORMS)
def test_linear_model_with_the_box_in_the_way(norm):
    """Pixels on the faces of the box: the margin gained is at least 98 % of the best possible."""
    logits, weight, _, _ = linear(size=40)
    draw = torch.Generator().manual_seed(5)
    x = torch.rand(6, 1, 4, 10, generator=draw, dtype=torch.float64)
    x[torch.rand(x.shape, generator=draw) < 0.3] = 0.0
    x[torch.rand(x.shape, generator=draw) < 0.3] = 1.0
    y = logits(x).argmax(1)
    eps = {"linf": 0.3, "l2": 1.0, "l1": 4.0}[norm]
    result = pgd(logits, x, y, ball=Ball(norm, eps), steps=200, step_size=eps / 20, loss="margin", early_stop=False)
    start = objective("margin", logits(x), y)
    for row in (~fooled(logits(x), y)).nonzero()[:, 0].tolist():
        g = (weight[1 - y[row]] - weight[y[row]]).numpy()
        best = _most(g, x[row].flatten().numpy(), norm, eps)
        gained = (result.loss[row] - start[row]).item()
        assert 0.98 * best <= gained <= best * (1 + 1e-9)


def _most(g, x, norm, eps):
    room = np.where(g > 0, 1 - x, x)
    if norm == "linf":
        return float(np.abs(g) @ np.minimum(room, eps))
    if norm == "l1":
        return -linprog(-np.abs(g), A_ub=np.ones((1, len(g))), b_ub=[eps], bounds=[(0, r) for r in room]).fun
    scales = np.geomspace(1e-3, 1e3, 200_001)[:, None]  # min(scale |g|, room) with the scale that uses up eps
    lengths = np.linalg.norm(np.minimum(scales[::100] * np.abs(g), room), axis=1)
    scale = np.interp(min(eps, lengths.max()), lengths, scales[::100, 0])
    return float(np.abs(g) @ np.minimum(scale * np.abs(g), room)) * (1 + 1e-4)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "dlr"])
@pytest.mark.parametrize("early_stop", [True, False])
def test_best_point_visited_is_returned(trained, counted, norm, loss, early_stop):
    watched = counted(trained.net)
    _assert_best_is_returned(watched, trained, norm, loss, early_stop)


def _assert_best_is_returned(watched, trained, norm, loss, early_stop):
    eps = {"linf": 0.08, "l2": 0.6, "l1": 3.0}[norm]
    x, y = trained.x[:1], trained.y[:1]
    for row in range(12):
        x, y = trained.x[row : row + 1], trained.y[row : row + 1]
        watched.asked.clear()
        result = pgd(
            watched, x, y, ball=Ball(norm, eps), steps=7, step_size=eps, loss=loss, early_stop=early_stop, restarts=2
        )
        images, z = (torch.cat(parts) for parts in zip(*watched.asked[:-1], strict=True))
        values, wins = objective(loss, z, y.expand(len(z))), fooled(z, y.expand(len(z)))
        if early_stop and wins.any():
            assert torch.equal(result.x_adv[0], images[wins][0])
        else:
            assert result.loss.item() == pytest.approx((values[wins] if wins.any() else values).max().item(), abs=1e-5)
        assert result.success.item() == wins.any().item()


def test_mutant_that_returns_the_last_point_is_caught(trained, counted, monkeypatch):
    def keep_last(best, rows, x_adv, seen, early_stop):
        best.x_adv[rows.number] = x_adv

    monkeypatch.setitem(pgd.__globals__, "record", keep_last)
    with pytest.raises(AssertionError):
        _assert_best_is_returned(counted(trained.net), trained, "l2", "margin", False)


def test_mutant_without_projection_is_caught(trained, inside, monkeypatch):
    ball = Ball("linf", 0.05)
    inside(pgd(trained.net, trained.x, trained.y, ball=ball), trained.x, ball)
    monkeypatch.setattr("gambeson.geometry.project", lambda x_adv, *_: x_adv)
    with pytest.raises(AssertionError):
        inside(pgd(trained.net, trained.x, trained.y, ball=ball), trained.x, ball)


@pytest.mark.parametrize("norm", NORMS)
def test_early_stop_changes_the_cost_and_not_who_is_fooled(exact, counted, norm):
    ball, options = (
        Ball(norm, {"linf": 0.08, "l2": 0.6, "l1": 1.5}[norm]),
        {"steps": 12, "restarts": 2, "loss": "margin"},
    )
    lazy, full = counted(exact.net), counted(exact.net)
    stopped = pgd(lazy, exact.x, exact.y, ball=ball, **options)
    whole = pgd(full, exact.x, exact.y, ball=ball, early_stop=False, **options)
    assert torch.equal(stopped.success, whole.success)
    assert 0.1 < stopped.success.double().mean() < 0.97
    assert (whole.loss >= stopped.loss - 1e-9).all()
    assert sum(len(x) for x, _ in lazy.asked) < sum(len(x) for x, _ in full.asked)


def test_number_of_forward_and_backward_passes(trained, counted):
    ball = Ball("linf", 0.01)
    for restarts, random_start, forward in ((1, True, 1 + 6 + 1), (1, False, 6 + 1), (3, True, 1 + 3 * 6 + 1)):
        watched = counted(trained.net)
        pgd(
            watched,
            trained.x,
            trained.y,
            ball=ball,
            steps=5,
            restarts=restarts,
            random_start=random_start,
            early_stop=False,
        )
        assert (watched.forward, watched.backward) == (forward, 5 * restarts)


@pytest.mark.parametrize("norm", NORMS)
def test_more_steps_and_more_restarts_never_help_the_classifier(exact, norm):
    eps = {"linf": 0.06, "l2": 0.45, "l1": 2.0}[norm]
    options = {"ball": Ball(norm, eps), "step_size": eps / 5, "loss": "margin"}
    few, many = (pgd(exact.net, exact.x, exact.y, steps=steps, **options) for steps in (10, 100))
    assert (many.success >= few.success).all()
    assert (many.loss >= few.loss - 1e-9)[~many.success].all()
    one, three = (pgd(exact.net, exact.x, exact.y, steps=10, restarts=r, **options) for r in (1, 3))
    assert (three.success >= one.success).all()
    assert (three.loss >= one.loss - 1e-9)[~three.success].all()
    default = [pgd(exact.net, exact.x, exact.y, steps=s, ball=options["ball"]).success.sum() for s in (10, 100)]
    assert default[1] >= default[0]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("rule", ["sign", "normalised", "momentum", "adam"])
def test_every_rule_beats_random_starts(exact, norm, rule):
    """Order: each rule fools more than its starting points do, and never fewer than are misclassified already."""
    ball = Ball(norm, {"linf": 0.1, "l2": 0.8, "l1": 5.0}[norm])
    result = pgd(exact.net, exact.x, exact.y, ball=ball, step_rule=rule, loss="margin")
    starts = pgd(exact.net, exact.x, exact.y, ball=ball, steps=1, step_size=1e-9, loss="margin")
    assert result.success.sum() > starts.success.sum() + 5
    assert (result.success >= fooled(exact.net(exact.x), exact.y)).all()


def test_no_weaker_than_foolbox(trained):
    foolbox = pytest.importorskip("foolbox")
    model = foolbox.PyTorchModel(trained.net, bounds=(0, 1), device="cpu")
    peers = {
        "linf": foolbox.attacks.LinfPGD(steps=20, rel_stepsize=2.5 / 20),
        "l2": foolbox.attacks.L2PGD(steps=20, rel_stepsize=2.5 / 20),
        "l1": foolbox.attacks.SparseL1DescentAttack(steps=20, rel_stepsize=2.5 / 20),
    }
    for norm, attack in peers.items():
        for eps in {"linf": (0.04, 0.08), "l2": (0.3, 0.6), "l1": (1.5, 3.0)}[norm]:
            theirs, ours = 0.0, 0.0
            for start in range(5):  # both start at random, and one start is worth two images
                with torch.random.fork_rng():
                    torch.manual_seed(start)
                    theirs += attack(model, trained.x, trained.y, epsilons=eps)[2].float().mean().item() / 5
                keys = range(120 * start, 120 * (start + 1))
                found = pgd(trained.net, trained.x, trained.y, ball=Ball(norm, eps), steps=20, keys=keys)
                ours += found.success.float().mean().item() / 5
            assert ours >= theirs - 0.01, (norm, eps, ours, theirs)


def test_misclassified_images_come_back_untouched(trained):
    wrong = (trained.y + 1) % 4
    result = pgd(trained.net, trained.x, wrong, ball=Ball("l2", 0.3), steps=3)
    already = trained.net(trained.x).argmax(1) != wrong
    assert already.sum() > 100
    assert result.success[already].all()
    assert torch.equal(result.x_adv[already], trained.x[already])
    assert (result.distance[already] == 0).all()


def test_without_early_stop_misclassified_images_are_attacked_to_the_end(trained):
    wrong = (trained.y + 1) % 4
    before = objective("cross_entropy", trained.net(trained.x), wrong, None)
    result = pgd(trained.net, trained.x, wrong, ball=Ball("l2", 0.3), steps=3, early_stop=False)
    already = trained.net(trained.x).argmax(1) != wrong
    assert result.success[already].all()
    assert (result.loss >= before).all()
    assert (result.loss[already] > before[already] + 0.05).float().mean() > 0.9


@pytest.mark.parametrize("norm", NORMS)
def test_eps_zero_measures_clean_accuracy(trained, norm):
    result = pgd(trained.net, trained.x, trained.y, ball=Ball(norm, 0.0))
    assert torch.equal(result.x_adv, trained.x)
    assert torch.equal(result.success, trained.net(trained.x).argmax(1) != trained.y)


def test_rows_are_selected_with_their_state(trained):
    """A callable with one noise draw per image meets its own image only, however rows are dropped."""
    noise = 0.1 * torch.randn(len(trained.x), 4, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    smoothed, ball = soft(trained.net, noise), Ball("l2", 0.7)
    stopped = pgd(smoothed, trained.x, trained.y, ball=ball, steps=8, restarts=2, loss="margin")
    whole = pgd(smoothed, trained.x, trained.y, ball=ball, steps=8, restarts=2, loss="margin", early_stop=False)
    assert torch.equal(stopped.success, whole.success)
    assert 0.1 < stopped.success.float().mean() < 0.97
    assert torch.equal(stopped.success, fooled(smoothed(stopped.x_adv), trained.y))


def test_zero_gradients_stay_and_are_not_nan(trained):
    def flat(x):
        return (x.flatten(1)[:, :4] * 0.0) + torch.tensor([1.0, 0.0, 0.0, 0.0])

    y = torch.zeros(len(trained.x), dtype=torch.int64)
    for norm in NORMS:
        for rule in ("sign", "normalised", "momentum", "adam"):
            result = pgd(flat, trained.x, y, ball=Ball(norm, 0.5), step_rule=rule, steps=3)
            assert not result.success.any()
            assert result.x_adv.isfinite().all()


def test_saturated_gradients_still_point(trained):
    """Cross-entropy whose gradients are about 1e-30: the direction is there, and no rule loses it."""

    def saturated(x):
        margin = 69.0 + (x.flatten(1).sum(1) - 32)
        return torch.stack([margin, torch.zeros_like(margin)], 1)

    x, y = torch.full((3, 1, 8, 8), 0.5), torch.zeros(3, dtype=torch.int64)
    for norm in NORMS:
        for rule in ("sign", "normalised", "momentum", "adam"):
            ball = Ball(norm, 0.2)
            result = pgd(saturated, x, y, ball=ball, step_rule=rule, steps=5, random_start=False)
            assert (result.loss > objective("cross_entropy", saturated(x), y)).all(), (norm, rule)


def test_half_precision_logits_are_judged_in_float32(trained):
    result = pgd(lambda x: trained.net(x).bfloat16(), trained.x, trained.y, ball=Ball("linf", 0.08), steps=5)
    assert result.loss.dtype == torch.float32
    assert result.success.any()


def test_nan_logits_name_the_row(trained):
    x = trained.x.clone()
    x[4, 0, 0, 0] = torch.nan
    with pytest.raises(UserError, match="outside the box"):
        pgd(trained.net, x, trained.y, ball=Ball("linf", 0.1))

    def always(images):
        z = trained.net(images).clone()
        z[4, 1] = torch.nan
        return z

    with pytest.raises(UserError, match=r"NaN or \+inf logits for 1 of 120 images \(rows 4\)"):
        pgd(always, trained.x, trained.y, ball=Ball("linf", 0.1))


def test_nan_during_the_attack_names_the_row():
    x = torch.full((3, 1, 1, 1), 0.5)
    y = torch.zeros(3, dtype=torch.int64)

    def fragile(images):  # NaN above 0.55, gradient NaN exactly at 0.45
        v = images.flatten(1)
        return torch.cat([torch.where(v > 0.55, torch.nan, 1 - v), v - 1], 1)

    with pytest.raises(UserError, match=r"NaN or \+inf logits during the attack for 3 of 3 images \(rows 0, 1, 2\)"):
        pgd(fragile, x, y, ball=Ball("linf", 0.1), random_start=False)

    def kinked(images):
        v = images.flatten(1)
        return torch.cat([1 + 0 * v + (v * 0).sqrt(), v - 1], 1)

    with pytest.raises(UserError, match="gradient with respect to the image is NaN or infinite for 3 of 3"):
        pgd(kinked, x, y, ball=Ball("linf", 0.1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"restarts": 0}, "restarts is 0"),
        ({"restarts": 2, "random_start": False}, "turn random_start on"),
        ({"step_size": 0.0}, "step_size is 0.0"),
        ({"step_size": math.inf}, "step_size is inf"),
        ({"loss": "hinge"}, "loss is 'hinge'; it must be one of cross_entropy, margin, difference, dlr"),
        ({"step_rule": "newton"}, "step_rule is 'newton'; it must be one of sign"),
        ({"keys": [1, 2]}, "keys has 2 entries for 120 images"),
        ({"targets": torch.zeros(120, dtype=torch.int64)}, "targets equal the label"),
        ({"targets": torch.zeros(3, dtype=torch.int64)}, "targets are torch.int64"),
        ({"x": torch.full((120, 1, 8, 8), 1.5)}, "outside the box"),
        ({"x": torch.zeros(120, 1, 8, 8, dtype=torch.uint8)}, "images are torch.uint8"),
        ({"y": torch.zeros(120)}, "labels are torch.float32"),
        ({"y": torch.full((120,), 4)}, "the classifier has 4 classes"),
        ({"logits": lambda x: torch.zeros(len(x), 4)}, "carry no gradient"),
        ({"logits": lambda x: x}, "not logits"),
        ({"loss": "dlr", "logits": lambda x: x.flatten(1)[:, :2], "y": torch.ones(120, dtype=torch.int64)}, "needs 3"),
    ],
)
def test_users_mistakes(trained, options, message):
    given = {"logits": trained.net, "x": trained.x, "y": trained.y} | options
    with pytest.raises(UserError, match=message):
        pgd(given.pop("logits"), given.pop("x"), given.pop("y"), ball=Ball("linf", 0.1), **given)


def test_another_box(trained, inside):
    ball, x = Ball("l2", 1.0), trained.x * 2 - 1
    result = pgd(lambda images: trained.net((images + 1) / 2), x, trained.y, ball=ball, box=Box(-1.0, 1.0))
    inside(result, x, ball, box=(-1.0, 1.0))
    assert result.x_adv.min() < 0


class Changing:
    changes = True


@pytest.mark.parametrize(("logits", "kept"), [(None, (2.0, 3.0, True)), (Changing(), (3.0, 9.0, False))])
def test_search_keeps_a_fooling_point_over_a_larger_loss_and_the_last_where_answers_change(logits, kept):
    rows = search.Rows(logits, torch.arange(1), torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64), None, False)
    best = search.Best(
        torch.zeros(1, 1),
        torch.zeros(1),
        torch.tensor([False]),
        torch.tensor([False]),
        torch.zeros(1, dtype=torch.int8),
        torch.zeros((), dtype=torch.int64),
        torch.full((1,), -1),
    )

    def seen(loss, won):
        return search.Seen(
            torch.tensor([loss]), torch.tensor([won]), torch.zeros(1, dtype=torch.int8), torch.zeros(1, 1)
        )

    for value, loss, won in ((1.0, 5.0, False), (4.0, 2.0, True), (2.0, 3.0, True), (3.0, 9.0, False)):
        search.record(best, rows, torch.full((1, 1), value), seen(loss, won), early_stop=False)
    assert (best.x_adv.item(), best.loss.item(), best.success.item()) == kept
