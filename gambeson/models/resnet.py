"""CIFAR residual networks of depth 20 and 110."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from gambeson.errors import UserError
from gambeson.models.layers import activation as layer
from gambeson.models.layers import he_fan_out, normalize, require_size


class Block(nn.Module):
    """act(shortcut(x) + bn(conv(act(bn(conv(x)))))), with 3x3 convolutions; the shortcut is x, or bn(conv 1x1)."""

    def __init__(self, channels: int, out: int, stride: int, activation: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.act1 = layer(activation)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.act2 = layer(activation)
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        skipped = x if self.downsample is None else self.downsample(x)
        return self.act2(skipped + self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x))))))


def resnet(
    *,
    classes: int,
    shape: tuple[int, int, int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    activation: str = "relu",
    depth: int = 20,
) -> nn.Sequential:
    """conv 16@3x3, three stages of (depth - 2) / 6 blocks with 16, 32, 64 channels, global average pool, fc.

    Args: `shape` (C, H, W) with H, W >= 8; `activation` relu, softplus or elu; `depth` 6 n + 2. Returns logits
    (N, classes). Initialisation: He (fan out) for convolutions.

    >>> sum(p.numel() for p in resnet(classes=10, shape=(3, 32, 32), depth=20).parameters())
    272474

    Paper: He et al. 2016; Cohen et al. 2019, code/archs/cifar_resnet.py, whose names we keep: its checkpoints load.
    The original has parameter-free shortcuts (269,722 parameters at depth 20); we follow Cohen's 1x1 convolutions.
    """
    require_size("resnet", shape, 8)
    if depth < 8 or depth % 6 != 2:
        raise UserError(f"depth is {depth}; a CIFAR resnet has depth 6 n + 2: 8, 14, 20, 32, 44, 56, 110")
    net = nn.Sequential(
        OrderedDict(
            normalize=normalize(shape, mean, std),
            conv1=nn.Conv2d(shape[0], 16, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(16),
            act=layer(activation),
            layer1=stage(16, 16, 1, depth // 6, activation),
            layer2=stage(16, 32, 2, depth // 6, activation),
            layer3=stage(32, 64, 2, depth // 6, activation),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(64, classes),
        )
    )
    he_fan_out(net)
    return net


def stage(channels: int, out: int, stride: int, blocks: int, activation: str) -> nn.Sequential:
    """`blocks` blocks, of which the first changes size and channels."""
    first = Block(channels, out, stride, activation)
    return nn.Sequential(first, *(Block(out, out, 1, activation) for _ in range(blocks - 1)))


def resnet20(
    *,
    classes: int,
    shape: tuple[int, int, int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    activation: str = "relu",
) -> nn.Sequential:
    """`resnet` of depth 20: 272,474 parameters for (3, 32, 32) and 10 classes."""
    return resnet(classes=classes, shape=shape, mean=mean, std=std, activation=activation, depth=20)


def resnet110(
    *,
    classes: int,
    shape: tuple[int, int, int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    activation: str = "relu",
) -> nn.Sequential:
    """`resnet` of depth 110: 1,730,714 parameters for (3, 32, 32) and 10 classes."""
    return resnet(classes=classes, shape=shape, mean=mean, std=std, activation=activation, depth=110)
