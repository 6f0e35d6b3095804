"""What every attack on a ball keeps: one table, all attacks, all norms."""

import pytest
import torch

from gambeson import attacks
from gambeson.attacks import ATTACKS, NEAREST_ATTACKS
from gambeson.smoothed import soft
from gambeson.types import NORMS, Ball

EPS = {"linf": 0.06, "l2": 0.45, "l1": 2.0}
EVERY = [(name, norm) for name in ATTACKS for norm in NORMS]
CHEAP = {  # options with which an attack takes little time
    "apgd": {"steps": 20},
    "fab": {"steps": 10},
    "fgsm": {"random_start": True},
    "multi_targeted": {"steps": 10},
    "pgd": {"random_start": True},
    "random_noise": {"draws": 30},
    "spsa": {"steps": 8, "samples": 32},
    "square": {"queries": 100},
    "transfer": {},
}
BLIND = ("random_noise",)  # finds nothing that is hard to find
LOSSES = {"fab": ["difference"], "multi_targeted": ["difference", "margin", "dlr"], "transfer": ["margin"]}


def attack_of(name, net):
    """The attack with its cheap options; what it transfers from is the classifier itself."""
    options = CHEAP[name] | ({"source": net} if name == "transfer" else {})
    return lambda *given, **more: ATTACKS[name](*given, **options | more)


def test_the_registry_is_all():
    assert sorted({*ATTACKS, *NEAREST_ATTACKS}) == attacks.__all__
    for name, attack in (ATTACKS | NEAREST_ATTACKS).items():
        assert attack.__name__ == name
        assert "arXiv" in attack.__doc__ or name == "spsa"


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_inside_truthful_and_useful(trained, inside, name, norm):
    ball = Ball(norm, EPS[norm])
    for loss in LOSSES.get(name, ["cross_entropy", "margin", "dlr"]):
        result = attack_of(name, trained.net)(trained.net, trained.x, trained.y, ball=ball, loss=loss)
        inside(result, trained.x, ball)
        assert result.success.dtype == torch.bool
        assert result.distance.dtype == torch.float64
        with torch.no_grad():
            assert torch.equal(result.success, trained.net(result.x_adv).argmax(1) != trained.y)
        clean = trained.net(trained.x).argmax(1) != trained.y
        assert result.success[clean].all()
        assert result.success.sum() > clean.sum() or name in BLIND


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
        attack_of(name, net)(net, x, trained.y, ball=ball)
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
    attack, ball, x, y = attack_of(name, trained.net), Ball(norm, EPS[norm]), trained.x[:40], trained.y[:40]
    plain = attack(trained.net, x, y, ball=ball)
    with torch.no_grad():
        quiet = attack(trained.net, x, y, ball=ball)
    with torch.inference_mode():
        inference = attack(trained.net, x.clone(), y.clone(), ball=ball)
    trained.net.requires_grad_(False)
    frozen = attack(trained.net, x, y, ball=ball)
    trained.net.requires_grad_(True)
    wanted = attack(trained.net, x.clone().requires_grad_(), y, ball=ball)
    for other in (quiet, inference, frozen, wanted):
        assert torch.equal(other.x_adv, plain.x_adv)
        assert not other.x_adv.requires_grad


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_repeats_and_ignores_the_batch_split(exact, name, norm):
    attack, options = attack_of(name, exact.net), {"ball": Ball(norm, EPS[norm])}
    keys = [7 * row + 1 for row in range(len(exact.x))]
    whole = attack(exact.net, exact.x, exact.y, keys=keys, **options)
    again = attack(exact.net, exact.x, exact.y, keys=keys, **options)
    assert torch.equal(whole.x_adv, again.x_adv)
    parts = [slice(0, 1), slice(1, 50), slice(50, 120)]
    split = [attack(exact.net, exact.x[rows], exact.y[rows], keys=keys[rows], **options) for rows in parts]
    assert torch.equal(whole.success, torch.cat([part.success for part in split]))
    torch.testing.assert_close(whole.x_adv, torch.cat([part.x_adv for part in split]), rtol=0, atol=1e-6)
    other = attack(exact.net, exact.x, exact.y, keys=[key + 1 for key in keys], **options)
    assert not torch.equal(whole.x_adv, other.x_adv) or name == "fab"  # which begins at the image


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_takes_any_callable(trained, inside, name, norm):
    noise = 0.1 * torch.randn(len(trained.x), 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    smoothed, ball = soft(trained.net, noise), Ball(norm, EPS[norm])
    inside(attack_of(name, smoothed)(smoothed, trained.x, trained.y, ball=ball), trained.x, ball)


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_an_empty_batch(trained, name, norm):
    x, y = trained.x[:0], trained.y[:0]
    result = attack_of(name, trained.net)(trained.net, x, y, ball=Ball(norm, EPS[norm]))
    assert result.x_adv.shape == (0, 1, 8, 8)
    assert len(result.success) == len(result.distance) == 0


@pytest.mark.parametrize(("name", "norm"), EVERY)
def test_an_empty_ball(trained, name, norm):
    result = attack_of(name, trained.net)(trained.net, trained.x, trained.y, ball=Ball(norm, 0.0))
    assert torch.equal(result.x_adv, trained.x)


@pytest.mark.parametrize("name", ["pgd", "apgd", "fab", "square", "spsa", "random_noise"])
def test_towards_a_class_any_other_counts_and_targets_only_that_one(trained, name):
    net, x, y, ball = trained.net, trained.x, trained.y, Ball("l2", 0.8)
    other = (y + 1) % 4
    loose = attack_of(name, net)(net, x, y, ball=ball, towards=other)
    strict = attack_of(name, net)(net, x, y, ball=ball, targets=other)
    with torch.no_grad():
        assert torch.equal(loose.success, net(loose.x_adv).argmax(1) != y)
        assert torch.equal(strict.success, net(strict.x_adv).argmax(1) == other)
    assert (loose.success >= strict.success).all()
