"""WideResNet, the large CIFAR-10 network of adversarial training (28-10, 34-10; LLR: 28-8 and 40-8 with softplus)."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from gambeson.errors import UserError
from gambeson.models.blocks import PreActivationBlock
from gambeson.models.denoising import Denoising
from gambeson.models.layers import activation as layer
from gambeson.models.layers import he_fan_out, normalize, require_size


def wideresnet(
    *,
    classes: int,
    shape: tuple[int, int, int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    activation: str = "relu",
    depth: int = 28,
    width: int = 10,
    dropout: float = 0.0,
    denoising: bool = False,
) -> nn.Sequential:
    """conv 16@3x3, three stages of (depth - 4) / 6 pre-activation blocks (16, 32, 64 times width), fc.

    Args: `shape` (C, H, W) with H, W >= 8; `activation` relu, softplus or elu; `depth` 6 n + 4; `width` >= 1; `dropout`
    in [0, 1), between the convolutions of a block; `denoising`: a block of `models.denoising` after every stage (Xie et
    al. 2019). Returns logits (N, classes); 36,479,194 parameters for depth 28,
    width 10, (3, 32, 32) and 10 classes. Initialisation: He (fan out) for convolutions, the last bias zero.

    >>> sum(p.numel() for p in wideresnet(classes=10, shape=(3, 32, 32), depth=10, width=1).parameters())
    77850

    Paper: Zagoruyko & Komodakis 2016. TRADES's copy has an unused extra stage (46.2 M parameters at 34-10, reported
    as its size); it takes no part in the answer and is not built here.
    """
    require_size("wideresnet", shape, 8)
    if depth < 10 or depth % 6 != 4:
        raise UserError(f"depth is {depth}; a WideResNet has depth 6 n + 4: 10, 16, 22, 28, 34, 40, 70")
    if width < 1:
        raise UserError(f"width is {width}; it must be an integer >= 1 (10 in WRN-28-10)")
    stages: dict[str, nn.Module] = {}
    for index, (channels, out) in enumerate(((16, 16 * width), (16 * width, 32 * width), (32 * width, 64 * width))):
        first = PreActivationBlock(channels, out, 1 if index == 0 else 2, activation, dropout)
        others = (PreActivationBlock(out, out, 1, activation, dropout) for _ in range((depth - 4) // 6 - 1))
        stages[f"layer{index + 1}"] = nn.Sequential(first, *others, *([Denoising(out)] if denoising else []))
    fc = nn.Linear(64 * width, classes)
    nn.init.zeros_(fc.bias)
    net = nn.Sequential(
        OrderedDict(
            normalize=normalize(shape, mean, std),
            conv1=nn.Conv2d(shape[0], 16, 3, padding=1, bias=False),
            **stages,
            bn=nn.BatchNorm2d(64 * width),
            act=layer(activation),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=fc,
        )
    )
    he_fan_out(net)
    return net
