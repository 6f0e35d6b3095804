"""gamma: exact where it is known, and never more than the loss allows."""

import pytest
import torch

from gambeson.attacks.local_linearity import local_linearity
from gambeson.attacks.objectives import objective
from gambeson.types import NORMS, Ball


@pytest.mark.parametrize("norm", NORMS)
def test_a_linear_loss_has_none(norm):
    weight = torch.randn(2, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, y = torch.full((3, 1, 4, 5), 0.5, dtype=torch.float64), torch.tensor([0, 1, 0])
    found = local_linearity(lambda v: v.flatten(1) @ weight.T, x, y, ball=Ball(norm, 0.2), loss="margin", steps=10)
    assert (found.gamma < 1e-12).all()


def test_a_quadratic_loss_has_the_largest_of_its_second_order_term():
    """Margin |v|^2 with v = x - 1/2: g(delta) = |delta|^2, at most eps^2 in l2 and D eps^2 in linf."""

    def bowl(x):
        square = (x - 0.5).flatten(1).square().sum(1)
        return torch.stack([torch.zeros_like(square), square - 9], 1)

    x = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.2 + 0.4
    y = torch.zeros(4, dtype=torch.int64)
    for norm, most in (("l2", 0.2**2), ("linf", 9 * 0.2**2)):
        found = local_linearity(bowl, x, y, ball=Ball(norm, 0.2), loss="margin", restarts=3)
        torch.testing.assert_close(found.gamma, torch.full((4,), most, dtype=torch.float64), rtol=1e-3, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_the_bound_holds_where_it_was_found(exact, norm):
    """|l(x + delta) - l(x)| <= |<delta, grad>| + gamma, with equality of g at the worst point."""
    found = local_linearity(exact.net, exact.x, exact.y, ball=Ball(norm, 0.1), steps=10, restarts=2)
    after = objective("cross_entropy", exact.net(found.x_adv), exact.y).detach()
    torch.testing.assert_close((after - found.loss - found.slope).abs(), found.gamma, atol=1e-9, rtol=0)
    assert (found.gamma > 0).all()


def test_it_repeats_and_ignores_the_batch_split(exact):
    options = {"ball": Ball("linf", 0.05), "steps": 5, "restarts": 2}
    whole = local_linearity(exact.net, exact.x[:9], exact.y[:9], **options)
    split = [local_linearity(exact.net, exact.x[s], exact.y[s], keys=range(9)[s], **options)
             for s in (slice(0, 1), slice(1, 9))]  # fmt: skip
    torch.testing.assert_close(whole.gamma, torch.cat([one.gamma for one in split]), atol=1e-12, rtol=0)
