"""What every attack of the registry keeps: one table, all attacks, all norms."""

import pytest
import torch

from gambeson import attacks
from gambeson.attacks import ATTACKS
from gambeson.smoothed import soft
from gambeson.types import NORMS, Ball

EPS = {"linf": 0.06, "l2": 0.45, "l1": 2.0}
EVERY = [(name, norm) for name in ATTACKS for norm in NORMS]


def test_the_registry_is_all():
    assert list(ATTACKS) == attacks.__all__
    for name, attack in ATTACKS.items():
        assert attack.__name__ == name
        assert attack.__doc__


@pytest.mark.parametrize(("name", "norm"), EVERY)
@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "dlr"])
def test_inside_truthful_and_useful(trained, inside, name, norm, loss):
    ball = Ball(norm, EPS[norm])
    result = ATTACKS[name](trained.net, trained.x, trained.y, ball=ball, loss=loss, random_start=True)
    inside(result, trained.x, ball)
    assert result.success.dtype == torch.bool
    assert result.distance.dtype == torch.float64
    with torch.no_grad():
        assert torch.equal(result.success, trained.net(result.x_adv).argmax(1) != trained.y)
    clean = trained.net(trained.x).argmax(1) != trained.y
    assert result.success.sum() > clean.sum()


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_leaves_everything_as_it_was(trained, global_randomness, name, norm):
    net, ball = trained.net, Ball(norm, EPS[norm])
    net[0].train()  # a mode per layer, and grad flags, that must survive
    net[0].weight.requires_grad_(False)
    net[6].bias.grad = torch.ones_like(net[6].bias)
    try:
        state = {key: value.clone() for key, value in net.state_dict().items()}
        modes, flags = [m.training for m in net.modules()], [p.requires_grad for p in net.parameters()]
        grads = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
        x, before, enabled = trained.x.clone(), global_randomness(), torch.is_grad_enabled()
        ATTACKS[name](net, x, trained.y, ball=ball, random_start=True)
        assert torch.equal(x, trained.x)
        assert global_randomness() == before
        assert torch.is_grad_enabled() == enabled
        assert [m.training for m in net.modules()] == modes
        assert [p.requires_grad for p in net.parameters()] == flags
        assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
        for parameter, grad in zip(net.parameters(), grads, strict=True):
            assert (parameter.grad is None) == (grad is None)
            assert grad is None or torch.equal(parameter.grad, grad)
    finally:
        net.eval().requires_grad_(True).zero_grad(set_to_none=True)


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_works_whatever_the_gradient_mode(trained, name, norm):
    attack, ball = ATTACKS[name], Ball(norm, EPS[norm])
    plain = attack(trained.net, trained.x, trained.y, ball=ball)
    with torch.no_grad():
        quiet = attack(trained.net, trained.x, trained.y, ball=ball)
    with torch.inference_mode():
        inference = attack(trained.net, trained.x.clone(), trained.y.clone(), ball=ball)
    trained.net.requires_grad_(False)
    frozen = attack(trained.net, trained.x, trained.y, ball=ball)
    trained.net.requires_grad_(True)
    wanted = attack(trained.net, trained.x.clone().requires_grad_(), trained.y, ball=ball)
    for other in (quiet, inference, frozen, wanted):
        assert torch.equal(other.x_adv, plain.x_adv)
        assert not other.x_adv.requires_grad


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_repeats_and_ignores_the_batch_split(exact, name, norm):
    attack, options = ATTACKS[name], {"ball": Ball(norm, EPS[norm]), "random_start": True}
    keys = [7 * row + 1 for row in range(len(exact.x))]
    whole = attack(exact.net, exact.x, exact.y, keys=keys, **options)
    again = attack(exact.net, exact.x, exact.y, keys=keys, **options)
    assert torch.equal(whole.x_adv, again.x_adv)
    parts = [slice(0, 1), slice(1, 50), slice(50, 120)]
    split = [attack(exact.net, exact.x[rows], exact.y[rows], keys=keys[rows], **options) for rows in parts]
    assert torch.equal(whole.success, torch.cat([part.success for part in split]))
    torch.testing.assert_close(whole.x_adv, torch.cat([part.x_adv for part in split]), rtol=0, atol=1e-6)
    other = attack(exact.net, exact.x, exact.y, keys=[key + 1 for key in keys], **options)
    assert not torch.equal(whole.x_adv, other.x_adv)


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_takes_any_callable(trained, inside, name, norm):
    noise = 0.1 * torch.randn(len(trained.x), 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    ball = Ball(norm, EPS[norm])
    inside(ATTACKS[name](soft(trained.net, noise), trained.x, trained.y, ball=ball), trained.x, ball)


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_an_empty_batch(trained, name, norm):
    result = ATTACKS[name](trained.net, trained.x[:0], trained.y[:0], ball=Ball(norm, EPS[norm]))
    assert result.x_adv.shape == (0, 1, 8, 8)
    assert len(result.success) == len(result.distance) == 0
