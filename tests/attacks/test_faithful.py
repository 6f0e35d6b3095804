"""What makes each attack what it is: schedules, budgets, estimates, and what they say where there is no way."""

import pytest
import torch
from linear import linear, nearest
from torch import nn

from gambeson.attacks import (
    ATTACKS,
    BLACK_BOX,
    NEAREST_ATTACKS,
    apgd,
    boundary,
    carlini_wagner_linf,
    ddn,
    deepfool,
    multi_targeted,
    spsa,
    square,
)
from gambeson.attacks.by_name import cheapest, complete, own_norm, run
from gambeson.attacks.high_confidence import towards_confidence
from gambeson.attacks.search import NoGradient
from gambeson.errors import UserError
from gambeson.geometry import random_start
from gambeson.smoothed import redrawn
from gambeson.types import Ball

X = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
EVERY = {**ATTACKS, **NEAREST_ATTACKS}


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 5)).eval()


class Counting:
    """Counts the points that each call asks about."""

    def __init__(self, logits):
        self.logits, self.calls = logits, []

    def __call__(self, x):
        self.calls.append(len(x))
        return self.logits(x)


@pytest.mark.parametrize("weights", [True, False], ids=["weights that could be trained", "nothing to differentiate by"])
@pytest.mark.parametrize("name", sorted(set(EVERY) - set(BLACK_BOX)))
def test_no_gradient_is_said_and_never_taken_for_robustness(net, name, weights):
    """Nor does it matter whether something else could be differentiated by."""

    def detached(x):
        return net(x.detach()) if weights else net(x).detach()

    norm, eps = (own_norm(name), None) if name in NEAREST_ATTACKS else ("linf", 0.3)
    options = cheapest(complete(name, {}, norm=norm, eps=eps))
    with pytest.raises(NoGradient):
        run(name, options, detached, X, net(X).argmax(1), norm=norm, eps=eps, keys=range(len(X)))


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"random_noise"}))
def test_a_class_that_is_ruled_out_is_no_trouble(net, name):
    def four_of_five(x):
        return net(x).index_fill(1, torch.tensor([3]), float("-inf"))

    norm, eps = (own_norm(name), None) if name in NEAREST_ATTACKS else ("linf", 0.3)
    options = cheapest(
        complete(name, {}, norm=norm, eps=eps), {"steps": 5, "queries": 150, "restarts": 1, "samples": 8}
    )
    y = four_of_five(X).argmax(1)
    found = run(name, options, four_of_five, X, y, norm=norm, eps=eps, keys=range(len(X)), source=four_of_five)
    assert found.x_adv.isfinite().all()


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_the_scale_of_the_logits_does_not_matter(scale):
    for attack, norm, allowed, options in (
        (deepfool, "l2", 1.03, {}), (deepfool, "linf", 1.03, {}), (carlini_wagner_linf, "linf", 1.12, {}),
    ):  # fmt: skip
        logits, weight, x, y = linear(away=0.15, norm=norm)
        radii = nearest(logits, weight, x, y, norm).values
        given = {"norm": norm} if attack is deepfool else {"initial": 1.0, "largest": 1e6, "steps": 200}
        found = attack(lambda images, of=logits: scale * of(images), x, y, **options, **given)
        assert found.success.all()
        assert (found.distance <= allowed * radii).all(), (attack.__name__, (found.distance / radii).tolist())


def test_apgd_shortens_its_steps():
    """The maximum of a concave loss inside the ball: steps of 2 eps jump over it for ever."""
    top = X.clone() + 0.03 * torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4)

    def hill(x):
        return torch.stack([1 + (x - top).square().flatten(1).sum(1), torch.zeros(len(x))], 1)

    y = torch.zeros(len(X), dtype=torch.long)
    for norm, eps in (("linf", 0.1), ("l2", 0.3)):
        found = apgd(hill, X, y, ball=Ball(norm, eps), loss="difference", steps=100)
        missed = -1 - found.loss
        inside = ((top >= 0) & (top <= 1)).flatten(1).all(1)
        assert inside.any()
        assert (missed[inside] < 1e-4 * eps).all(), (norm, missed.tolist())


@pytest.mark.parametrize("queries", [120, 150, 400])
@pytest.mark.parametrize("changes", [False, True])
def test_boundary_keeps_to_its_queries(net, queries, changes):
    """Even of a classifier that loses the point when it is judged at the end."""
    asked = Counting(net)

    def moody(x):
        z = asked(x)
        return z.flip(1) if changes and len(asked.calls) % 7 == 3 else z

    for image in X:
        asked.calls.clear()
        found = boundary(moody, image[None], net(image[None]).argmax(1), queries=queries)
        assert sum(asked.calls) <= queries
        assert found.success.all() or found.reason[0]


def test_spsa_estimates_the_gradient():
    """On a linear loss each pair of points gives (g v) v, whose mean is g; and one image fills whole calls."""
    draw = torch.Generator().manual_seed(1)
    slope = torch.randn(16, generator=draw)
    asked = Counting(lambda x: torch.stack([9 - x.flatten(1) @ slope, x.flatten(1) @ slope], 1))
    moved = {}
    for samples in (64, 16_384):
        asked.calls.clear()
        x, y = torch.full((1, 1, 4, 4), 0.5), torch.zeros(1, dtype=torch.long)
        given = {"steps": 1, "step_size": 0.01, "step_rule": "normalised", "samples": samples, "keys": [3]}
        ball = Ball("linf", 0.4)  # out of reach for nearly every pixel
        found = spsa(asked, x, y, ball=ball, loss="difference", **given)
        move = (found.x_adv - random_start(x, ball, keys=[3])).flatten()
        moved[samples] = (move @ slope / move.norm() / slope.norm()).item()
        assert max(asked.calls) == min(samples // 2, 4_096)
        assert sum(asked.calls) == 2 + (samples + 1) + 1
    assert moved[16_384] > 0.99
    assert moved[64] < moved[16_384]


def test_squares_shrink_as_published():
    """Of a classifier that nothing changes, every proposal is the start but for one square."""
    seen = []

    def indifferent(x):
        seen.append(x.clone())
        return torch.tensor([[1.0, 0.0]]).repeat(len(x), 1)

    x = torch.full((1, 1, 20, 20), 0.5)
    square(indifferent, x, torch.zeros(1, dtype=torch.long), ball=Ball("linf", 0.1), queries=1_200)
    start, sides = seen[1], []
    for tried in seen[2:-1]:
        rows, columns = (tried != start)[0, 0].nonzero().unbind(1)
        sides.append(max((each.max() - each.min() + 1).item() if len(each) else 0 for each in (rows, columns)))
    for first, last, share in ((0, 10, 0.8), (12, 50, 0.4), (52, 200, 0.2), (202, 500, 0.1), (502, 1_000, 0.05)):
        assert max(sides[first:last]) == round((share * 400) ** 0.5), share


@pytest.mark.parametrize("levels", [15, 255])
def test_ddn_visits_only_images_that_can_be_saved(net, levels):
    x = (X * levels).round() / levels
    seen = Counting(net)
    found = ddn(seen, x, net(x).argmax(1), levels=levels, steps=60)
    assert found.success.any()
    assert torch.equal(found.x_adv, (found.x_adv * levels).round() / levels)


def test_the_step_of_the_high_confidence_attack_has_a_graph():
    draw = torch.Generator().manual_seed(2)
    log_p, log_c = -torch.rand(3, generator=draw, dtype=torch.float64), -0.1 * torch.ones(3, dtype=torch.float64)
    grad = torch.randn(3, 1, 2, 2, generator=draw, dtype=torch.float64)
    given = tuple(each.requires_grad_() for each in (log_p, grad, log_c))
    assert torch.autograd.gradcheck(towards_confidence, given)
    assert torch.autograd.gradgradcheck(towards_confidence, given)


def test_of_new_noise_at_every_call_the_last_point_counts_and_no_look_is_taken_twice(net):
    """The luckiest of a hundred looks says nothing; judged once, the point may fail, and is returned all the same."""
    generator, visited = torch.Generator().manual_seed(3), []

    def make(noise):
        def logits(x):
            visited.append(x.detach().clone())
            return net(x + noise[:, 0])

        return logits

    changing = redrawn(make, lambda rows: 0.3 * torch.randn(len(rows), 1, 1, 4, 4, generator=generator), len(X))
    y = net(X).argmax(1)
    found = ddn(changing, X, y, steps=20)
    assert len(visited) == 1 + 20 + 1 + 1
    hard = [row for row in range(len(X)) if found.distance[row] > 0]
    assert len(visited[-2]) == len(hard)
    assert torch.equal(found.x_adv[hard], visited[-2])
    assert torch.equal(found.x_adv, visited[-1])


def test_the_likeliest_classes_come_first(net):
    """So that few of them find most."""
    y = net(X).argmax(1)
    named = []

    def inner(logits, x, y, *, towards, early_stop, **given):
        named.append(towards)
        return ATTACKS["pgd"](logits, x, y, towards=towards, early_stop=early_stop, **given)

    multi_targeted(net, X, y, ball=Ball("linf", 0.2), attack=inner, early_stop=False, steps=20, classes=1)
    second = net(X).scatter(1, y[:, None], float("-inf")).argmax(1)
    assert torch.equal(named[0], second)


@pytest.mark.parametrize("loss", ["cross_entropy", "log_probability"])
def test_fab_linearises_only_what_is_zero_on_the_boundary(loss: str) -> None:
    logits, x, y = torch.nn.Flatten(), torch.full((1, 1, 1, 2), 0.5), torch.tensor([0])
    with pytest.raises(UserError, match="must be 0 on the boundary: difference"):
        ATTACKS["fab"](logits, x, y, ball=Ball("l2", 0.1), loss=loss, towards=torch.tensor([1]))
    with pytest.raises(UserError, match="must be 0 on the boundary: difference"):
        ATTACKS["fab"](logits, x, y, ball=Ball("l2", 0.1), loss="margin")
