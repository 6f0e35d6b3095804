"""FGSM: one step by hand, three forward passes, never stronger than PGD."""

import pytest
import torch

from gambeson.attacks import fgsm, pgd
from gambeson.attacks.objectives import objective
from gambeson.types import NORMS, Ball


def test_the_formula(trained):
    """x + eps sign(grad), clipped to the box, wherever that raises the loss."""
    x = trained.x.clone().requires_grad_()
    grad = torch.autograd.grad(objective("cross_entropy", trained.net(x), trained.y).sum(), x)[0]
    stepped = (trained.x + 0.03 * grad.sign()).clamp(0, 1)
    result = fgsm(trained.net, trained.x, trained.y, ball=Ball("linf", 0.03))
    right = trained.net(trained.x).argmax(1) == trained.y
    assert right.sum() > 100
    torch.testing.assert_close(result.x_adv[right], stepped[right], rtol=0, atol=1e-6)
    assert torch.equal(result.x_adv[~right], trained.x[~right])


def test_three_forward_passes_one_backward(trained, counted):
    watched = counted(trained.net)
    fgsm(watched, trained.x[:30], trained.y[:30], ball=Ball("l2", 0.01))
    assert (watched.forward, watched.backward) == (3, 1)


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_fools_at_least_as_many(trained, norm):
    ball = Ball(norm, {"linf": 0.06, "l2": 0.45, "l1": 2.0}[norm])
    one = fgsm(trained.net, trained.x, trained.y, ball=ball).success.sum()
    many = pgd(trained.net, trained.x, trained.y, ball=ball, steps=20).success.sum()
    assert many >= one > 0
