"""What every attack that looks for the smallest perturbation keeps."""

import pytest
import torch

from gambeson.attacks import NEAREST_ATTACKS
from gambeson.geometry import distance
from gambeson.smoothed import soft

NORM = {"carlini_wagner_linf": "linf"}
CHEAP = {
    "boundary": {"queries": 300},
    "carlini_wagner_l2": {"steps": 30, "searches": 4, "step_size": 0.05, "initial": 0.1},
    "carlini_wagner_linf": {"steps": 30, "step_size": 0.02, "initial": 0.1, "shrink": 0.5},
    "ddn": {"steps": 30},
    "deepfool": {"steps": 20},
    "fmn": {"steps": 30},
    "high_confidence": {"steps": 30, "confidence": 0.6},
}
EVERY = list(NEAREST_ATTACKS)


def attack_of(name):
    return lambda *given, **more: NEAREST_ATTACKS[name](*given, **CHEAP[name] | more)


@pytest.mark.parametrize("name", EVERY)
def test_truthful_and_useful(trained, name):
    net, x, y = trained.net, trained.x, trained.y
    result = attack_of(name)(net, x, y)
    with torch.no_grad():
        now = net(result.x_adv).argmax(1)
    assert result.x_adv.min() >= 0
    assert result.x_adv.max() <= 1
    assert torch.equal(result.distance, distance(result.x_adv.double() - x.double(), NORM.get(name, "l2")))
    assert (now != y)[result.success].all()
    assert result.success.float().mean() > 0.9
    assert [bool(why) for why in result.reason] == (~result.success).tolist()
    assert torch.equal(result.x_adv[~result.success], x[~result.success])
    wrong = net(x).argmax(1) != y
    assert (result.distance[wrong] == 0).all() or name == "high_confidence"


@pytest.mark.parametrize("name", EVERY)
def test_leaves_everything_as_it_was(trained, global_randomness, name):
    net, x = trained.net, trained.x[:20].clone()
    net.zero_grad(set_to_none=True)
    state, before = {key: value.clone() for key, value in net.state_dict().items()}, global_randomness()
    attack_of(name)(net, x, trained.y[:20])
    assert torch.equal(x, trained.x[:20])
    assert global_randomness() == before
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("name", EVERY)
def test_repeats_and_ignores_the_batch_split(exact, name):
    attack, x, y = attack_of(name), exact.x[:40], exact.y[:40]
    keys = [7 * row + 1 for row in range(40)]
    whole, again = attack(exact.net, x, y, keys=keys), attack(exact.net, x, y, keys=keys)
    assert torch.equal(whole.x_adv, again.x_adv)
    parts = [slice(0, 1), slice(1, 17), slice(17, 40)]
    split = [attack(exact.net, x[rows], y[rows], keys=keys[rows]) for rows in parts]
    assert torch.equal(whole.success, torch.cat([part.success for part in split]))
    torch.testing.assert_close(whole.x_adv, torch.cat([part.x_adv for part in split]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_takes_any_callable_and_gradient_mode(trained, name):
    noise = 0.1 * torch.randn(20, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    smoothed, x, y = soft(trained.net, noise), trained.x[:20], trained.y[:20]
    found = attack_of(name)(smoothed, x, y)
    assert found.success.any()
    with torch.inference_mode():
        assert torch.equal(attack_of(name)(smoothed, x.clone(), y.clone()).x_adv, found.x_adv)


@pytest.mark.parametrize("name", EVERY)
def test_an_empty_batch(trained, name):
    result = attack_of(name)(trained.net, trained.x[:0], trained.y[:0])
    assert result.x_adv.shape == (0, 1, 8, 8)
    assert result.reason == ()


@pytest.mark.parametrize(
    "name", ["boundary", "carlini_wagner_l2", "carlini_wagner_linf", "ddn", "fmn", "high_confidence"]
)
def test_targets_are_the_only_success(trained, name):
    net, x, y = trained.net, trained.x[:40], trained.y[:40]
    targets = (y + 1) % 4
    result = attack_of(name)(net, x, y, targets=targets)
    with torch.no_grad():
        assert torch.equal(result.success, net(result.x_adv).argmax(1) == targets)
    assert result.success.float().mean() > (0.2 if name == "boundary" else 0.9)
