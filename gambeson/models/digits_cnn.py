"""A small network for the 8x8 digits: seconds to train on one core."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from gambeson.models.layers import activation as layer
from gambeson.models.layers import normalize, require_size
from gambeson.models.pooling import MaxPool2


def digits_cnn(
    *,
    classes: int,
    shape: tuple[int, int, int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    activation: str = "relu",
) -> nn.Sequential:
    """conv 32@3x3 - act - conv 64@3x3 - act - max-pool 2 - fc 128 - act - fc; convolutions padded by 1.

    Args: `shape` (C, H, W) with H, W >= 4; `activation` relu, softplus or elu. Returns logits (N, classes); 151,306
    parameters for (1, 8, 8) and 10 classes. Initialisation: PyTorch's default. Ours, not from a paper.

    >>> sum(p.numel() for p in digits_cnn(classes=10, shape=(1, 8, 8)).parameters())
    151306
    """
    require_size("digits_cnn", shape, 4)
    return nn.Sequential(
        OrderedDict(
            normalize=normalize(shape, mean, std),
            conv1=nn.Conv2d(shape[0], 32, 3, padding=1),
            act1=layer(activation),
            conv2=nn.Conv2d(32, 64, 3, padding=1),
            pool=MaxPool2(),  # before the activation: the same function (see lenet), a quarter of the work
            act2=layer(activation),
            flatten=nn.Flatten(),
            fc1=nn.Linear(64 * (shape[1] // 2) * (shape[2] // 2), 128),
            act3=layer(activation),
            fc2=nn.Linear(128, classes),
        )
    )
