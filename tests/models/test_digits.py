"""The digits network on the real digits: it learns, and the guards let it pass."""

import torch
from torch import nn

from gambeson import data, models
from gambeson.models.guards import check


def test_digits_cnn_learns_and_is_honest() -> None:
    train, test = data.load("digits", "train"), data.load("digits", "test")
    x, y = train.pixels(), train.labels
    torch.manual_seed(0)
    net = models.build("digits_cnn", classes=10, shape=(1, 8, 8))
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(5):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        accuracy = (net(test.pixels()).argmax(1) == test.labels).float().mean().item()
    assert accuracy > 0.95  # 0.98 to 0.99 after 15 epochs
    assert check(net, test.pixels(), test.labels, 10) == []
    mixed_up = torch.roll(test.labels, 7)  # labels of other images: nothing between pixels and labels fits
    assert [flag.name for flag in check(net, test.pixels(), mixed_up, 10)] == ["near_chance"]
