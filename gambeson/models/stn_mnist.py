"""The MNIST network of stability training with noise (STN)."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from gambeson.models.layers import activation as layer
from gambeson.models.layers import normalize, require_size


def stn_mnist(
    *,
    classes: int,
    shape: tuple[int, int, int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    activation: str = "relu",
) -> nn.Sequential:
    """conv 64@5x5 - act - conv 64@5x5 - act - dropout .25 - fc 128 - act - dropout .5 - fc; no padding, no pooling.

    Args: `shape` (C, H, W) with H, W >= 9; `activation` relu, softplus or elu. Returns logits (N, classes); 3,382,346
    parameters for (1, 28, 28) and 10 classes, about 45 M multiplications an image: twenty times LeNet's.
    Initialisation: Glorot uniform, biases zero, as published.

    >>> [layer.p for layer in stn_mnist(classes=10, shape=(1, 28, 28)) if isinstance(layer, nn.Dropout)]
    [0.25, 0.5]

    Paper: Li, Chen, Wang & Carin 2019, from the released model description (models/modelA_mnist.json).
    """
    require_size("stn_mnist", shape, 9)
    net = nn.Sequential(
        OrderedDict(
            normalize=normalize(shape, mean, std),
            conv1=nn.Conv2d(shape[0], 64, 5),
            act1=layer(activation),
            conv2=nn.Conv2d(64, 64, 5),
            act2=layer(activation),
            drop1=nn.Dropout(0.25),
            flatten=nn.Flatten(),
            fc1=nn.Linear(64 * (shape[1] - 8) * (shape[2] - 8), 128),
            act3=layer(activation),
            drop2=nn.Dropout(0.5),
            fc2=nn.Linear(128, classes),
        )
    )
    for name, parameter in net.named_parameters():
        if name.endswith("weight"):
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
    return net
