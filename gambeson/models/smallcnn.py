"""SmallCNN, the MNIST network of TRADES."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from gambeson.models.layers import activation as layer
from gambeson.models.layers import dropout as drop
from gambeson.models.layers import normalize, require_size
from gambeson.models.pooling import MaxPool2


def smallcnn(
    *,
    classes: int,
    shape: tuple[int, int, int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    activation: str = "relu",
    dropout: float = 0.5,
) -> nn.Sequential:
    """conv 32@3x3 twice - max-pool 2 - conv 64@3x3 twice - max-pool 2 - fc 200 - dropout - fc 200 - fc; no padding.

    Args: `shape` (C, H, W) with H, W >= 16; `activation` relu, softplus or elu; `dropout` in [0, 1). Returns logits
    (N, classes); 312,202 parameters for (1, 28, 28) and 10 classes.
    Initialisation: He (fan in) for convolutions, the last layer *zero*, as published: an untrained net answers 0 for
    every class and has no input gradient until its first step.

    >>> smallcnn(classes=10, shape=(1, 28, 28)).classifier.fc3.weight.abs().max().item()
    0.0

    Paper: Zhang et al. 2019, models/small_cnn.py, whose names we keep so that its checkpoint loads. We pool before the
    activation: the same function, on a quarter of the values.
    """
    require_size("smallcnn", shape, 16)
    height, width = (((side - 4) // 2 - 4) // 2 for side in shape[1:])
    features = OrderedDict(
        conv1=nn.Conv2d(shape[0], 32, 3),
        act1=layer(activation),
        conv2=nn.Conv2d(32, 32, 3),
        pool1=MaxPool2(),
        act2=layer(activation),
        conv3=nn.Conv2d(32, 64, 3),
        act3=layer(activation),
        conv4=nn.Conv2d(64, 64, 3),
        pool2=MaxPool2(),
        act4=layer(activation),
        flatten=nn.Flatten(),
    )
    classifier = OrderedDict(
        fc1=nn.Linear(64 * height * width, 200),
        act1=layer(activation),
        drop=drop(dropout),
        fc2=nn.Linear(200, 200),
        act2=layer(activation),
        fc3=nn.Linear(200, classes),
    )
    for name, parameter in nn.Sequential(features).named_parameters():
        if name.endswith("weight"):
            nn.init.kaiming_normal_(parameter)
        else:
            nn.init.zeros_(parameter)
    for parameter in classifier["fc3"].parameters():
        nn.init.zeros_(parameter)
    return nn.Sequential(
        OrderedDict(
            normalize=normalize(shape, mean, std),
            feature_extractor=nn.Sequential(features),
            classifier=nn.Sequential(classifier),
        )
    )
