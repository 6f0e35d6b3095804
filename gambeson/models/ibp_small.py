"""The small network of interval bound propagation (IBP)."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from gambeson.models.layers import activation as layer
from gambeson.models.layers import normalize, orthogonal, require_size


def ibp_small(
    *,
    classes: int,
    shape: tuple[int, int, int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    activation: str = "relu",
) -> nn.Sequential:
    """conv 16@4x4 stride 2 - conv 32@4x4 - fc 100 - fc; no padding, an activation after each.

    Args: `shape` (C, H, W) with H, W >= 10; `activation` relu, softplus or elu. Returns logits (N, classes);
    470,918 parameters for (3, 32, 32) and 10 classes. Initialisation: orthogonal, biases zero, as published.

    >>> sum(p.numel() for p in ibp_small(classes=10, shape=(3, 32, 32)).parameters())
    470918

    Paper: Gowal et al. 2018, "On the effectiveness of interval bound propagation", Table 1.
    """
    require_size("ibp_small", shape, 10)
    height, width = ((side - 4) // 2 + 1 - 3 for side in shape[1:])
    net = nn.Sequential(
        OrderedDict(
            normalize=normalize(shape, mean, std),
            conv1=nn.Conv2d(shape[0], 16, 4, stride=2),
            act1=layer(activation),
            conv2=nn.Conv2d(16, 32, 4),
            act2=layer(activation),
            flatten=nn.Flatten(),
            fc1=nn.Linear(32 * height * width, 100),
            act3=layer(activation),
            fc2=nn.Linear(100, classes),
        )
    )
    orthogonal(net)
    return net
