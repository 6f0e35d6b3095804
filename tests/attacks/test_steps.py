"""Every step rule in every norm, from its definition; the lengths; Adam against torch's."""

import math

import pytest
import torch

from gambeson.attacks.steps import STEP_RULES, step
from gambeson.errors import UserError
from gambeson.geometry import distance
from gambeson.types import NORMS, Box

X = torch.full((6, 1, 10, 20), 0.5, dtype=torch.float64)
GRAD = torch.randn(X.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def move(rule, grad, state=(), count=1, norm="linf", length=0.1, x=X):
    return step(rule, grad, state, count, x=x, norm=norm, length=length, box=Box())


@pytest.mark.parametrize("rule", STEP_RULES)
@pytest.mark.parametrize("norm", NORMS)
def test_a_first_step_has_the_stated_length_and_climbs(rule, norm):
    delta, _ = move(rule, GRAD, norm=norm)
    torch.testing.assert_close(distance(delta, norm), torch.full((6,), 0.1, dtype=torch.float64), rtol=1e-5, atol=0)
    assert ((delta * GRAD).flatten(1).sum(1) > 0).all()


@pytest.mark.parametrize("rule", STEP_RULES)
@pytest.mark.parametrize("norm", NORMS)
def test_a_zero_gradient_gives_no_step(rule, norm):
    delta, _ = move(rule, torch.zeros_like(GRAD), norm=norm)
    assert (delta == 0).all()


@pytest.mark.parametrize("rule", STEP_RULES)
@pytest.mark.parametrize("norm", NORMS)
def test_the_scale_of_the_gradient_does_not_matter(rule, norm):
    torch.testing.assert_close(move(rule, GRAD * 1e-30, norm=norm)[0], move(rule, GRAD, norm=norm)[0])


def test_sign_and_normalised_by_hand():
    assert torch.equal(move("sign", GRAD)[0], 0.1 * GRAD.sign())
    torch.testing.assert_close(move("sign", GRAD, norm="l2")[0], 0.1 * GRAD.sign() / math.sqrt(200))
    largest = GRAD.flatten(1).abs().amax(1).reshape(6, 1, 1, 1)
    torch.testing.assert_close(move("normalised", GRAD)[0], 0.1 * GRAD / largest)
    torch.testing.assert_close(
        move("normalised", GRAD, norm="l2")[0], 0.1 * GRAD / GRAD.flatten(1).norm(dim=1).reshape(6, 1, 1, 1)
    )


def test_sign_in_l1_moves_the_largest_two_of_200_pixels_that_can_move():
    x = X.clone()
    first = GRAD[0].flatten().abs().argsort(descending=True)
    x[0].view(-1)[first[0]] = 1.0 if GRAD[0].flatten()[first[0]] > 0 else 0.0  # the largest cannot move
    delta, _ = move("sign", GRAD, norm="l1", x=x)
    assert set(delta[0].flatten().nonzero()[:, 0].tolist()) == set(first[1:3].tolist())
    torch.testing.assert_close(delta[0].flatten()[first[1:3]], 0.05 * GRAD[0].flatten()[first[1:3]].sign())


def test_momentum_accumulates_gradients_of_unit_l1_length():
    other = torch.flip(GRAD, [0]) * 1e6
    _, state = move("momentum", GRAD)
    delta, (summed,) = move("momentum", other, state, 2)
    unit = [g / g.flatten(1).abs().sum(1).reshape(6, 1, 1, 1) for g in (GRAD, other)]
    torch.testing.assert_close(summed, unit[0] + unit[1])
    assert torch.equal(delta, 0.1 * summed.sign())


def test_adam_is_torchs_adam_on_scaled_gradients():
    point = torch.zeros_like(GRAD, requires_grad=True)
    theirs = torch.optim.Adam([point], lr=0.1, maximize=True)
    ours, state = torch.zeros_like(GRAD), ()
    for count in range(1, 6):
        grad = torch.randn(GRAD.shape, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
        delta, state = move("adam", grad, state, count)
        ours = ours + delta
        point.grad = grad / grad.flatten(1).abs().amax(1).reshape(6, 1, 1, 1)
        theirs.step()
    torch.testing.assert_close(ours, point.detach())
    assert len(state) == 2


def test_unknown_rule():
    with pytest.raises(UserError, match="step_rule is 'lbfgs'; it must be one of sign, normalised, momentum, adam"):
        move("lbfgs", GRAD)
