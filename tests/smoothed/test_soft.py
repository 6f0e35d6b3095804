"""The soft smoothed classifier: log of the mean, by hand, stably, image by image."""

import math
from importlib import import_module

import pytest
import torch
from torch import nn

from gambeson.attacks import pgd
from gambeson.attacks.objectives import objective
from gambeson.errors import UserError
from gambeson.smoothed import SoftSmoothed, soft
from gambeson.types import Ball


@pytest.fixture(scope="module")
def base():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 5)).double().eval()
    net[1].weight.data *= 4
    net[3].weight.data *= 4
    return net


X = 0.35 + 0.3 * torch.rand(7, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.arange(7) % 5
NOISE = 0.5 * torch.randn(7, 6, 1, 4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def log_of_mean(base, x, noise):
    """Salman et al. 2019, the objective (S), as written."""
    return torch.stack([base(x + noise[:, j]).softmax(1) for j in range(noise.shape[1])]).mean(0).log()


def mean_of_log(base, x, noise):
    """The objective that attacks another classifier: their equation (4)."""
    return torch.stack([base(x + noise[:, j]).log_softmax(1) for j in range(noise.shape[1])]).mean(0)


def gradient(logits, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(objective("cross_entropy", logits(x), Y).sum(), x)[0]


def test_values_and_gradients_are_the_formulas(base):
    torch.testing.assert_close(soft(base, NOISE)(X), log_of_mean(base, X, NOISE))
    torch.testing.assert_close(gradient(soft(base, NOISE), X), gradient(lambda x: log_of_mean(base, x, NOISE), X))
    torch.testing.assert_close(soft(base, NOISE)(X).exp().sum(1), torch.ones(7, dtype=torch.float64))


def test_mean_of_log_is_another_objective(base):
    """The mutant: the wrong order of log and mean changes values, gradients and the sign steps that PGD takes."""
    wrong = mean_of_log(base, X, NOISE)
    assert (wrong - log_of_mean(base, X, NOISE)).abs().max() > 0.05
    assert (wrong <= soft(base, NOISE)(X) + 1e-12).all()  # Jensen
    ours, theirs = gradient(soft(base, NOISE), X), gradient(lambda x: mean_of_log(base, x, NOISE), X)
    assert (ours.sign() != theirs.sign()).any()


def test_pgd_on_it_is_the_smoothadv_attack(base):
    """Same points as PGD by hand on -log (1/m) sum_j p_y(x + noise_j), draws fixed through all steps."""
    steps, size, ball = 4, 0.1, Ball("l2", 0.25)
    by_hand = X.clone()
    for _ in range(steps):
        grad = gradient(lambda x: log_of_mean(base, x, NOISE), by_hand)
        by_hand = by_hand + size * grad / grad.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        delta = by_hand - X
        delta = delta * (ball.eps / delta.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)).clamp(max=1)
        by_hand = X + delta
    assert ((by_hand > 0) & (by_hand < 1)).all()  # the box is out of reach
    result = pgd(soft(base, NOISE), X, Y, ball=ball, steps=steps, step_size=size, random_start=False, early_stop=False)
    attacked = log_of_mean(base, X, NOISE).argmax(1) == Y
    assert attacked.sum() >= 2
    torch.testing.assert_close(result.x_adv[attacked], by_hand[attacked], rtol=0, atol=1e-9)
    torch.testing.assert_close(result.loss, -log_of_mean(base, result.x_adv, NOISE).gather(1, Y[:, None])[:, 0])


def test_one_draw_is_the_cross_entropy_of_the_noisy_image(base):
    one = soft(base, NOISE[:, :1])
    plain = nn.functional.cross_entropy(base(X + NOISE[:, 0]), Y, reduction="none")
    torch.testing.assert_close(objective("cross_entropy", one(X), Y), plain)


@pytest.mark.parametrize("chunk", [1, 2, 4, 6, 99])
def test_chunks_change_nothing_but_memory(base, chunk):
    whole, split = soft(base, NOISE), soft(base, NOISE, chunk=chunk)
    torch.testing.assert_close(split(X), whole(X), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient(split, X), gradient(whole, X), rtol=1e-10, atol=1e-14)
    with torch.no_grad():
        torch.testing.assert_close(split(X), whole(X), rtol=1e-12, atol=0)
    seen = []
    soft(lambda images: seen.append(len(images)) or base(images), NOISE, chunk=chunk)(X)
    assert sum(seen) == 7 * 6
    assert max(seen) == 7 * min(chunk, 6)


def test_select_keeps_each_images_own_draws(base):
    rows = torch.tensor([5, 0, 3])
    torch.testing.assert_close(soft(base, NOISE).select(rows)(X[rows]), soft(base, NOISE)(X)[rows])
    mask = torch.zeros(7, dtype=torch.bool)
    mask[2:4] = True
    twice = soft(base, NOISE, chunk=2).select(torch.tensor([6, 5, 3, 2])).select(torch.tensor([3, 2]))
    assert twice.chunk == 2
    torch.testing.assert_close(twice(X[mask]), soft(base, NOISE).select(mask)(X[mask]))


def test_many_points_are_split_where_no_gradient_is_asked_for(base, monkeypatch):
    """Attacks on scores ask for thousands of points, each of which is many noisy images."""
    whole, seen = soft(base, NOISE)(X), []
    draws = NOISE.shape[1]
    monkeypatch.setattr(import_module("gambeson.smoothed.soft"), "AT_ONCE", 3 * draws + 1)
    counting = soft(lambda images: seen.append(len(images)) or base(images), NOISE)
    with torch.no_grad():
        torch.testing.assert_close(counting(X), whole)
    assert seen == [3 * draws, 3 * draws, draws]


def test_noise_is_not_clipped(base):
    seen = []
    soft(lambda images: seen.append(images) or base(images), NOISE)(X)
    assert seen[0].min() < 0
    assert seen[0].max() > 1
    torch.testing.assert_close(seen[0].unflatten(0, (7, 6)), X[:, None] + NOISE)


def test_margin_on_log_probabilities(base):
    result = pgd(soft(base, NOISE), X, Y, ball=Ball("linf", 0.2), loss="margin", steps=5)
    assert torch.equal(result.success, result.loss > 0)


def test_stable_where_probabilities_vanish():
    """A lost class keeps a finite value and a gradient: log(clamp(mean, 1e-20)) has neither beyond 46."""

    def confident(images):
        margin = 300.0 * images.flatten(1).sum(1)
        return torch.stack([margin, -margin], 1)

    x = torch.full((1, 1, 1, 2), 0.4, requires_grad=True)
    z = soft(confident, torch.zeros(1, 3, 1, 1, 2))(x)
    assert z.dtype == torch.float32
    assert z[0, 1].item() == pytest.approx(-480, rel=1e-6)
    assert torch.autograd.grad(z[0, 1], x)[0].flatten().tolist() == pytest.approx([-600, -600], rel=1e-4)


def test_half_precision_and_types(base):
    z = soft(lambda images: base(images.double()).bfloat16(), NOISE.float())(X.float())
    assert z.dtype == torch.float32
    assert soft(base, NOISE.float())(X).dtype == torch.float64  # noise follows the images
    assert isinstance(soft(base, NOISE), SoftSmoothed)
    torch.testing.assert_close(soft(base, NOISE[:, :2].repeat(1, 3, 1, 1, 1))(X), soft(base, NOISE[:, :2])(X))


def test_users_mistakes(base):
    for wrong in (NOISE[:, 0, 0, 0, 0], NOISE[:, :0], NOISE.long()):
        with pytest.raises(UserError, match="noise is"):
            soft(base, wrong)
    with pytest.raises(UserError, match="chunk is 0"):
        soft(base, NOISE, chunk=0)
    with pytest.raises(UserError, match=r"images are \(3, 1, 4, 4\) but the noise draws are for \(7, 1, 4, 4\)"):
        soft(base, NOISE)(X[:3])
    assert math.isclose(soft(base, NOISE)(X).exp().sum().item(), 7.0)
