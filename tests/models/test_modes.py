"""The model is left as it was found."""

import pytest
from torch import nn

from gambeson.models.modes import evaluating, frozen


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
