"""Stein's estimate: right on average, and made of scores alone."""

import math

import pytest
import torch

from gambeson.attacks import pgd
from gambeson.errors import UserError
from gambeson.smoothed import redrawn, soft, stein
from gambeson.types import Ball

SIGMA = 0.5


def noise(images, draws, seed=0, shape=(1, 2, 2)):
    return SIGMA * torch.randn(
        images, draws, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def half_space(x):
    """Two classes by the sign of the first pixel: no gradient anywhere."""
    side = (x.flatten(1)[:, 0] > 0).double()
    return 50 * torch.stack([side, 1 - side], 1)


def test_the_gradient_is_that_of_the_smoothed_probability():
    """p_0 = Phi(x_1 / sigma): its logarithm has a known slope, in the first pixel only."""
    x = torch.tensor([0.2, -0.3], dtype=torch.float64).reshape(2, 1, 1, 1).expand(2, 1, 2, 2).clone().requires_grad_()
    z = stein(half_space, noise(2, 400_000), sigma=SIGMA)(x)
    grad = torch.autograd.grad(z[:, 0].sum(), x)[0]
    t = x.detach()[:, 0, 0, 0] / SIGMA
    phi, cumulative = (-(t**2) / 2).exp() / math.sqrt(2 * math.pi), torch.special.ndtr(t)
    torch.testing.assert_close(z[:, 0].exp(), cumulative, atol=0.005, rtol=0)
    torch.testing.assert_close(grad[:, 0, 0, 0], phi / cumulative / SIGMA, atol=0.03, rtol=0)
    assert grad[:, 0].flatten(1)[:, 1:].abs().max() < 0.03


def test_values_are_those_of_soft_and_rows_keep_their_draws():
    x, drawn = torch.rand(3, 1, 2, 2, dtype=torch.float64), noise(3, 8)
    torch.testing.assert_close(stein(half_space, drawn, sigma=SIGMA)(x), soft(half_space, drawn)(x))
    some = torch.tensor([2, 0])
    chosen = stein(half_space, drawn, sigma=SIGMA).select(some)
    torch.testing.assert_close(chosen(x[some]), stein(half_space, drawn, sigma=SIGMA)(x)[some])


def test_an_attack_climbs_where_there_is_no_gradient():
    x, y = torch.full((4, 1, 2, 2), 0.6, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)
    drawn, ball = noise(4, 2_000), Ball("l2", 0.4)
    flat = lambda images: half_space(images - 0.3)  # noqa: E731
    before = soft(flat, drawn)(x)[:, 0]
    found = pgd(stein(flat, drawn, sigma=SIGMA), x, y, ball=ball, random_start=False, early_stop=False)
    assert (soft(flat, drawn)(found.x_adv)[:, 0] < before - 0.1).all()


def test_mistakes_are_named():
    with pytest.raises(UserError, match="m >= 2"):
        stein(half_space, noise(2, 1), sigma=SIGMA)
    with pytest.raises(UserError, match="sigma is 0"):
        stein(half_space, noise(2, 4), sigma=0)


def test_redrawn_draws_anew_for_every_image_by_itself():
    generators = [torch.Generator().manual_seed(row) for row in range(3)]

    def draw(rows):
        return torch.stack([torch.randn(4, 1, 2, 2, generator=generators[row]) for row in rows.tolist()])

    asked = []

    def make(drawn):
        asked.append(drawn)
        return soft(half_space, drawn)

    x = torch.rand(3, 1, 2, 2)
    whole = redrawn(make, draw, 3)
    whole(x)
    whole(x)
    whole.select(torch.tensor([2]))(x[2:])
    first, second, third = asked
    assert not (first == second).any()
    again = torch.Generator().manual_seed(2)
    expected = torch.stack([torch.randn(4, 1, 2, 2, generator=again) for _ in range(3)])
    torch.testing.assert_close(torch.stack([first[2], second[2], third[0]]), expected)
