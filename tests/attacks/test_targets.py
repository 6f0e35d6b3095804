"""Targets: uniform over the other classes by key; the least likely; and attacks that reach them."""

import pytest
import torch

from gambeson.attacks import pgd
from gambeson.attacks.targets import least_likely, random_targets
from gambeson.errors import UserError
from gambeson.types import Ball


def test_random_targets_are_uniform_over_the_others_and_depend_on_the_key_alone():
    y = torch.arange(4).repeat(600)
    targets = random_targets(y, 4, range(2400))
    assert (targets != y).all()
    counts = torch.bincount((targets - y) % 4, minlength=4)
    assert counts[0] == 0
    assert (counts[1:] > 800 - 5 * 800**0.5).all()
    halves = torch.cat([random_targets(y[:7], 4, range(7)), random_targets(y[7:], 4, range(7, 2400))])
    assert torch.equal(targets, halves)


def test_least_likely_is_the_smallest_logit_but_not_the_label(trained):
    z = trained.net(trained.x)
    top = z.argmax(1)
    assert torch.equal(least_likely(trained.net, trained.x, top), z.argmin(1))
    smallest = z.argmin(1)
    second = least_likely(trained.net, trained.x, smallest)
    assert (second != smallest).all()
    assert torch.equal(second, z.detach().argsort(1)[:, 1])


@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "dlr"])
def test_targeted_success_means_the_target_is_predicted(trained, loss):
    targets = random_targets(trained.y, 4, range(len(trained.y)))
    ball = Ball("linf", 0.12)
    result = pgd(trained.net, trained.x, trained.y, ball=ball, targets=targets, loss=loss, steps=10)
    assert torch.equal(result.success, trained.net(result.x_adv).argmax(1) == targets)
    assert result.success.float().mean() > 0.5
    untargeted = pgd(trained.net, trained.x, trained.y, ball=ball, loss=loss, steps=10)
    assert untargeted.success.sum() >= result.success.sum()


def test_users_mistakes():
    with pytest.raises(UserError, match="at least 2 classes"):
        random_targets(torch.tensor([0]), 1, [0])
    with pytest.raises(UserError, match="keys has 2 entries for 1 labels"):
        random_targets(torch.tensor([0]), 3, [0, 1])
