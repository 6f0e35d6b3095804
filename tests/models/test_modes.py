"""The model is left as it was found."""

import pytest
import torch
from torch import Tensor, nn

from gambeson.models.modes import channels_last, evaluating, frozen, under_attack


def mixed() -> nn.Sequential:
    """A network in whose training mode one layer has been put to evaluation, and one parameter is frozen."""
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(), nn.Linear(2, 2)))
    net[1].eval()
    net[0].weight.requires_grad_(False)
    return net


def modes(net: nn.Module) -> list[bool]:
    return [module.training for module in net.modules()]


def flags(net: nn.Module) -> list[bool]:
    return [parameter.requires_grad for parameter in net.parameters()]


def test_evaluating_switches_off_and_restores_each_submodule() -> None:
    net = mixed()
    before = modes(net)
    with evaluating(net) as inside:
        assert inside is net
        assert not any(modes(net))
    assert modes(net) == before
    assert set(before) == {True, False}  # so model.train() or model.eval() at the end would not restore it


def test_frozen_switches_off_and_restores_each_parameter() -> None:
    net = mixed()
    before = flags(net)
    with frozen(net) as inside:
        assert inside is net
        assert not any(flags(net))
    assert flags(net) == before
    assert set(before) == {True, False}


@pytest.mark.parametrize(("manager", "look"), [(evaluating, modes), (frozen, flags)])
def test_restored_after_an_exception(manager, look) -> None:  # type: ignore[no-untyped-def]
    net = mixed()
    before = look(net)
    with pytest.raises(ZeroDivisionError), manager(net):
        raise ZeroDivisionError
    assert look(net) == before


@pytest.mark.parametrize("manager", [evaluating, frozen])
def test_nested_and_plain_callables(manager) -> None:  # type: ignore[no-untyped-def]
    net = mixed()
    before = modes(net) + flags(net)
    with manager(net), manager(net):
        pass
    assert modes(net) + flags(net) == before
    with manager(len) as same:
        assert same is len


class Net(nn.Module):
    """flatten: as models do, or with .view, which channels_last does not allow."""

    def __init__(self, flatten: str) -> None:
        super().__init__()
        self.conv, self.linear, self.how = nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 6, 2), flatten

    def forward(self, x: Tensor) -> Tensor:
        found = self.conv(x)
        return self.linear(found.view(len(x), -1) if self.how == "view" else found.flatten(1))


def last(net: nn.Module) -> bool:
    return bool(net.conv.weight.is_contiguous(memory_format=torch.channels_last))


@pytest.mark.parametrize(("how", "expected"), [("flatten", True), ("view", False)])
def test_channels_last_is_for_models_that_run_so_and_ends_with_the_same_tensors(how: str, expected: bool) -> None:
    net, x = Net(how).eval(), torch.rand(4, 3, 8, 8)
    before, storage = net(x), net.conv.weight.data_ptr()
    with channels_last(net, x):
        assert last(net) is expected
        assert torch.allclose(net(x), before, atol=1e-6)
    assert net.conv.weight.data_ptr() == storage
    assert not last(net)


def test_under_attack_prepares_every_model_and_none() -> None:
    nets, x = [Net("flatten"), Net("flatten")], torch.rand(4, 3, 8, 8)
    with under_attack(x, *nets, None):
        assert not any(net.training or any(flags(net)) for net in nets)
        assert all(map(last, nets))
    assert all(net.training and all(flags(net)) and not last(net) for net in nets)
