"""The medium network of interval bound propagation (IBP)."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from gambeson.models.layers import activation as layer
from gambeson.models.layers import normalize, orthogonal, require_size


def ibp_medium(
    *,
    classes: int,
    shape: tuple[int, int, int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    activation: str = "relu",
) -> nn.Sequential:
    """conv 32@3x3 - conv 32@4x4 stride 2 - conv 64@3x3 - conv 64@4x4 stride 2 - fc 512 - fc 512 - fc; no padding.

    Args: `shape` (C, H, W) with H, W >= 16; `activation` relu, softplus or elu. Returns logits (N, classes);
    1,188,906 parameters for (3, 32, 32) and 10 classes. Initialisation: orthogonal, biases zero, as published.

    >>> sum(p.numel() for p in ibp_medium(classes=10, shape=(3, 32, 32)).parameters())
    1188906

    Paper: Gowal et al. 2018, "On the effectiveness of interval bound propagation", Table 1.
    """
    require_size("ibp_medium", shape, 16)
    height, width = ((((side - 2 - 4) // 2 + 1) - 2 - 4) // 2 + 1 for side in shape[1:])
    net = nn.Sequential(
        OrderedDict(
            normalize=normalize(shape, mean, std),
            conv1=nn.Conv2d(shape[0], 32, 3),
            act1=layer(activation),
            conv2=nn.Conv2d(32, 32, 4, stride=2),
            act2=layer(activation),
            conv3=nn.Conv2d(32, 64, 3),
            act3=layer(activation),
            conv4=nn.Conv2d(64, 64, 4, stride=2),
            act4=layer(activation),
            flatten=nn.Flatten(),
            fc1=nn.Linear(64 * height * width, 512),
            act5=layer(activation),
            fc2=nn.Linear(512, 512),
            act6=layer(activation),
            fc3=nn.Linear(512, classes),
        )
    )
    orthogonal(net)
    return net
