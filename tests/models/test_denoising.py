"""Feature denoising."""

import pytest
import torch
from torch import nn

from gambeson import models
from gambeson.models.denoising import Denoising


def test_means_are_weighted_by_likeness() -> None:
    """Against loops over positions."""
    torch.manual_seed(0)
    layer = Denoising(4).eval()
    nn.init.ones_(layer.bn.weight)
    x = torch.rand(2, 4, 3, 2)
    theta, phi = layer.theta.weight[:, :, 0, 0], layer.phi.weight[:, :, 0, 0]
    for image, found in zip(x, layer(x), strict=True):
        places = image.flatten(1).T  # one row of channels for every position
        means = []
        for here in places:
            likeness = torch.stack([(theta @ here) @ (phi @ there) for there in places]) / 2**0.5
            means.append((likeness.softmax(0)[:, None] * places).sum(0))
        expected = (
            image
            + (layer.conv.weight[:, :, 0, 0] @ torch.stack(means).T).reshape(image.shape) / (1 + layer.bn.eps) ** 0.5
        )
        assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "blocks"), [("preactresnet18", {}, 4), ("wideresnet", {"depth": 10, "width": 1}, 3)]
)
def test_a_network_begins_as_the_one_without(name: str, options: dict, blocks: int) -> None:
    net = models.build(name, classes=10, shape=(3, 32, 32), denoising=True, **options).eval()
    plain = models.build(name, classes=10, shape=(3, 32, 32), **options).eval()
    known = plain.load_state_dict(net.state_dict(), strict=False)
    found = [layer for layer in net.modules() if isinstance(layer, Denoising)]
    assert len(found) == blocks
    assert not known.missing_keys
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(net(x), plain(x), atol=1e-5)
