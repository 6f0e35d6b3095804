"""The large network of interval bound propagation (IBP)."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from gambeson.models.layers import activation as layer
from gambeson.models.layers import normalize, orthogonal, require_size


def ibp_large(
    *,
    classes: int,
    shape: tuple[int, int, int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    activation: str = "relu",
) -> nn.Sequential:
    """conv 64@3x3 twice - conv 128@3x3 stride 2 - conv 128@3x3 twice - fc 512 - fc; convolutions padded by 1.

    Args: `shape` (C, H, W) with H, W >= 2; `activation` relu, softplus or elu. Returns logits (N, classes);
    17,190,602 parameters for (3, 32, 32) and 10 classes. Initialisation: orthogonal, biases zero, as published.

    >>> sum(p.numel() for p in ibp_large(classes=10, shape=(3, 32, 32)).parameters())
    17190602

    Paper: Gowal et al. 2018, "On the effectiveness of interval bound propagation", Table 1. The last hidden
    layer is 512 wide as in the paper (the released code has 200). Where TensorFlow's stride 2 pads one side, we pad
    both by 1.
    """
    require_size("ibp_large", shape, 2)
    height, width = ((side + 1) // 2 for side in shape[1:])
    net = nn.Sequential(
        OrderedDict(
            normalize=normalize(shape, mean, std),
            conv1=nn.Conv2d(shape[0], 64, 3, padding=1),
            act1=layer(activation),
            conv2=nn.Conv2d(64, 64, 3, padding=1),
            act2=layer(activation),
            conv3=nn.Conv2d(64, 128, 3, stride=2, padding=1),
            act3=layer(activation),
            conv4=nn.Conv2d(128, 128, 3, padding=1),
            act4=layer(activation),
            conv5=nn.Conv2d(128, 128, 3, padding=1),
            act5=layer(activation),
            flatten=nn.Flatten(),
            fc1=nn.Linear(128 * height * width, 512),
            act6=layer(activation),
            fc2=nn.Linear(512, classes),
        )
    )
    orthogonal(net)
    return net
