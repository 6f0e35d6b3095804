"""PreActResNet-18, the CIFAR-10 network of fast adversarial training."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from gambeson.models.blocks import PreActivationBlock
from gambeson.models.denoising import Denoising
from gambeson.models.layers import activation as layer
from gambeson.models.layers import normalize, require_size


def preactresnet18(
    *,
    classes: int,
    shape: tuple[int, int, int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    activation: str = "relu",
    denoising: bool = False,
) -> nn.Sequential:
    """conv 64@3x3, four stages of two pre-activation blocks (64, 128, 256, 512), bn - act - global average pool - fc.

    Args: `shape` (C, H, W) with H, W >= 8; `activation` relu, softplus or elu; `denoising`: a block of
    `models.denoising` after every stage (Xie et al. 2019). Returns logits (N, classes); 11,172,170
    parameters for (3, 32, 32) and 10 classes. Initialisation: PyTorch's default, as in the code that the field shares.

    >>> preactresnet18(classes=10, shape=(3, 32, 32)).linear
    Linear(in_features=512, out_features=10, bias=True)

    Paper: He et al. 2016, "Identity mappings in deep residual networks"; as used by Wong et al. 2020, "Fast is better
    than free", and Rice et al. 2020 (the oldest copies lack the last batch normalisation, 1,024 parameters). Names as
    in the shared code: conv1, layer1 ... layer4, bn, linear.
    """
    require_size("preactresnet18", shape, 8)
    stages = {
        f"layer{index + 1}": nn.Sequential(
            PreActivationBlock(channels, out, 1 if index == 0 else 2, activation),
            PreActivationBlock(out, out, 1, activation),
            *([Denoising(out)] if denoising else []),
        )
        for index, (channels, out) in enumerate(((64, 64), (64, 128), (128, 256), (256, 512)))
    }
    return nn.Sequential(
        OrderedDict(
            normalize=normalize(shape, mean, std),
            conv1=nn.Conv2d(shape[0], 64, 3, padding=1, bias=False),
            **stages,
            bn=nn.BatchNorm2d(512),
            act=layer(activation),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            linear=nn.Linear(512, classes),
        )
    )
