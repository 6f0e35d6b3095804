"""Feature denoising: a block that replaces features by weighted means over the image (Xie et al. 2019)."""

import torch
from torch import Tensor, nn


class Denoising(nn.Module):
    """x + bn(conv1x1(non-local mean of x)): (N, C, H, W) -> (N, C, H, W), at first x itself.

    The mean is over all positions, with weights softmax(theta(x_i)^T phi(x_j) / sqrt(C / 2)), theta and phi 1x1
    convolutions to C / 2 channels; bn begins with weight 0. Memory: (H W)^2 numbers for every image.

    >>> x = torch.rand(2, 4, 3, 3); bool((Denoising(4)(x) == x).all())
    True

    Paper: Xie, Wu, van der Maaten, Yuille and He, "Feature denoising for improving adversarial robustness", CVPR 2019,
    arXiv:1812.03411: after the last block of every stage; their softmax (Gaussian, embedded) form.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.phi = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        theta, phi = self.theta(x).flatten(2), self.phi(x).flatten(2)
        weights = torch.softmax(theta.transpose(1, 2) @ phi / theta.shape[1] ** 0.5, dim=2)  # (N, HW, HW)
        means = (weights @ x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.bn(self.conv(means))
