"""Each indicator fires on what it is about, and on nothing honest."""

import torch

from gambeson.attacks.indicators import indicators
from gambeson.types import Ball

BALL = Ball("linf", 0.1)


def found(logits, data, **options):
    return indicators(logits, data.x[:30], data.y[:30], ball=BALL, directions=20, **options)


def test_an_honest_net_raises_none(trained):
    one = found(trained.net, trained, steps=100, step_size=0.005)
    assert not one.unavailable.any()
    assert not one.unlimited.any()
    assert one.silent.float().mean() < 0.05
    assert one.incomplete.median() < 0.05
    assert one.unstable.median() < 0.5


def test_no_gradient_a_zero_one_and_one_that_is_nan(trained):
    for broken in (
        lambda x: trained.net(x).detach(),
        lambda x: trained.net((x * 7).round() / 7),
        lambda x: trained.net(x) + (x * 0).sqrt().flatten(1)[:, :4],
    ):
        assert found(broken, trained).unavailable.all()


def test_a_shattered_loss_is_unstable(trained):
    rough = found(lambda x: trained.net(x) + 5 * torch.sin(9_000 * x.flatten(1)[:, :4]), trained)
    smooth = found(trained.net, trained)
    assert rough.unstable.median() > 2 * smooth.unstable.median()
    assert rough.unstable.max() <= 1


def test_a_success_that_the_last_step_lost_is_silent(trained):
    """Logits that fool between the losses of the way only: at its end the class is back."""

    def hiding(x):
        z = trained.net(x)
        margin = z.gather(1, trained.y[: len(x), None]) - 3  # falls along the way
        wave = torch.where((margin < 0.5) & (margin > -0.5), -50.0, 50.0)
        return z.scatter_add(1, trained.y[: len(x), None], wave)

    x, y = trained.x[:30], trained.y[:30]
    assert indicators(hiding, x, y, ball=Ball("linf", 0.3), steps=60, directions=1).silent.float().mean() > 0.5


def test_an_attack_that_is_cut_short_is_incomplete(trained):
    short = found(trained.net, trained, steps=12, step_size=1e-5)
    assert short.incomplete.median() > 0.5


def test_what_no_distance_breaks_is_told(trained):
    def constant(x):
        z = trained.net(x)
        return torch.nn.functional.one_hot(trained.y[: len(x)], 4) * 30.0 + z * 1e-3

    one = indicators(constant, trained.x[:30], trained.y[:30], ball=BALL, directions=1)
    assert one.unlimited.all()
    assert not one.unavailable.any()
