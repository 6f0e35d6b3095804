"""LeNet (20-50-500), the MNIST network of the randomised-smoothing literature."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from gambeson.models.layers import activation as layer
from gambeson.models.layers import normalize, require_size
from gambeson.models.pooling import MaxPool2


def lenet(
    *,
    classes: int,
    shape: tuple[int, int, int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    activation: str = "relu",
) -> nn.Sequential:
    """conv 20@5x5 - ReLU - max-pool 2 - conv 50@5x5 - ReLU - max-pool 2 - fc 500 - ReLU - fc.

    Args: `shape` (C, H, W) with H, W >= 16; `activation` relu, softplus or elu. Returns logits (N, classes); 431,080
    parameters for (1, 28, 28) and 10 classes. Initialisation: PyTorch's default, as in the published code.

    >>> sum(p.numel() for p in lenet(classes=10, shape=(1, 28, 28)).parameters())
    431080

    Paper: Jeong & Shin 2020, "Consistency regularization for certified robustness", code/archs/lenet.py. We pool
    *before* the activation: it is monotone, so max(act(a), act(b)) = act(max(a, b)), on a quarter of the values.
    """
    require_size("lenet", shape, 16)
    height, width = (((side - 4) // 2 - 4) // 2 for side in shape[1:])
    return nn.Sequential(
        OrderedDict(
            normalize=normalize(shape, mean, std),
            conv1=nn.Conv2d(shape[0], 20, 5),
            pool1=MaxPool2(),
            act1=layer(activation),
            conv2=nn.Conv2d(20, 50, 5),
            pool2=MaxPool2(),
            act2=layer(activation),
            flatten=nn.Flatten(),
            fc1=nn.Linear(50 * height * width, 500),
            act3=layer(activation),
            fc2=nn.Linear(500, classes),
        )
    )
