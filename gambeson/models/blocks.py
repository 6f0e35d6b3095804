"""The pre-activation residual block that PreActResNet and WideResNet share."""

from torch import Tensor, nn

from gambeson.models.layers import activation as layer
from gambeson.models.layers import dropout as drop


class PreActivationBlock(nn.Module):
    """x + conv(act(bn(conv(act(bn(x)))))), with 3x3 convolutions.

    Where the size or the number of channels changes, the shortcut is a 1x1 convolution of act(bn(x)) instead of x.
    Paper: He et al. 2016, "Identity mappings in deep residual networks"; dropout between the convolutions: Zagoruyko
    & Komodakis 2016.

    >>> import torch; PreActivationBlock(2, 4, 2, "relu")(torch.ones(1, 2, 8, 8)).shape
    torch.Size([1, 4, 4, 4])
    """

    def __init__(self, channels: int, out: int, stride: int, activation: str, dropout: float = 0.0) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = layer(activation)
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.act2 = layer(activation)
        self.drop = drop(dropout)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        changes = stride != 1 or channels != out
        self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False)) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        inner = self.act1(self.bn1(x))
        skipped = x if self.shortcut is None else self.shortcut(inner)
        return skipped + self.conv2(self.drop(self.act2(self.bn2(self.conv1(inner)))))
