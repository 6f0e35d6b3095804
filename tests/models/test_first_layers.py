"""Gradients to images are the library's up to rounding, whatever the convolution, and answers are its own."""

import pytest
import torch
from torch import nn

from gambeson.models.first_layers import quick_to_images
from gambeson.models.modes import frozen

HOW = [{}, {"padding": 2}, {"stride": 2, "padding": 1}, {"dilation": 2}, {"padding": (1, 2), "stride": (1, 3)},
       {"bias": False}]  # fmt: skip


def gradient(net: nn.Module, x: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.clone().requires_grad_()
    z = net(x)
    return z.detach(), torch.autograd.grad((z * weights).sum(), x)[0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("how", HOW, ids=str)
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last], ids=str)
def test_it_is_the_gradient(channels: int, how: dict, memory: torch.memory_format) -> None:
    torch.manual_seed(0)
    net = nn.Conv2d(channels, 7, (3, 5), **how).double().to(memory_format=memory)
    x = torch.rand(4, channels, 11, 13, dtype=torch.float64).contiguous(memory_format=memory)
    weights = torch.randn(net(x).shape, dtype=torch.float64)
    with frozen(net):
        z, plain = gradient(net, x, weights)
        with quick_to_images(net):
            again, quick = gradient(net, x, weights)
            assert net(x).equal(z)  # without a gradient too
        assert "forward" not in vars(net)
    assert again.equal(z)
    torch.testing.assert_close(quick, plain, rtol=1e-12, atol=1e-12)


def test_it_can_be_differentiated_again() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(16, 2)).double()
    x = torch.rand(2, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    with frozen(net), quick_to_images(net):
        assert torch.autograd.gradcheck(net, x)
        assert torch.autograd.gradgradcheck(net, x)


def test_who_trains_gets_gradients_of_the_weights() -> None:
    net, x = nn.Conv2d(1, 4, 3), torch.rand(2, 1, 5, 5, requires_grad=True)
    net(x).square().sum().backward()
    plain = [net.weight.grad.clone(), net.bias.grad.clone(), x.grad.clone()]
    net.zero_grad()
    x.grad = None
    with quick_to_images(net):
        net(x).square().sum().backward()
    for found, expected in zip([net.weight.grad, net.bias.grad, x.grad], plain, strict=True):
        assert found.equal(expected)


def test_a_bias_that_is_trained_alone_gets_its_gradient() -> None:
    net, x = nn.Conv2d(1, 4, 3), torch.rand(2, 1, 5, 5, requires_grad=True)
    net.weight.requires_grad_(False)
    with quick_to_images(net):
        net(x).sum().backward()
    torch.testing.assert_close(net.bias.grad, torch.full((4,), 18.0))


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(4, 4, 3), nn.Conv2d(2, 4, 3, groups=2), nn.Conv2d(1, 4, 3, padding="same"),
     nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), type("Mine", (nn.Conv2d,), {})(1, 4, 3)],
    ids=["many channels", "groups", "same", "circular", "derived"],
)  # fmt: skip
def test_others_are_left_alone(layer: nn.Conv2d) -> None:
    with quick_to_images(layer):
        assert "forward" not in vars(layer)


def test_it_is_undone_after_an_exception() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3))
    with pytest.raises(ValueError, match="why"), quick_to_images(net), quick_to_images(net):
        raise ValueError("why")
    assert "forward" not in vars(net[0])
