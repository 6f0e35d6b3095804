"""How far a network's first layer carries two images apart: an upper bound, for noise that is added behind it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from gambeson.errors import UserError
from gambeson.models.layers import Normalize


def first_layer(model: nn.Module) -> nn.Conv2d | nn.Linear:
    """The first convolution or linear layer, in the order in which the model names its layers."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            return module
    raise UserError("the model has neither a convolution nor a linear layer, after which noise could be added")


@torch.no_grad()
def sensitivity(model: nn.Module, height: int, width: int) -> Tensor:
    """A scalar s with |g(x) - g(x')| <= s |x - x'| in l2, g(x) what the first layer makes of an image of this size.

    For a convolution: the largest singular value over the frequencies of a torus in which image and kernel fit beside
    each other, of which zeros around the image only leave something out. A stride makes every s-th pixel, from each of
    the s first ones, a channel of its own. Over a `Normalize` before it: its smallest std.

    >>> s = sensitivity(nn.Conv2d(1, 1, 1, bias=False).requires_grad_(False).apply(lambda m: m.weight.fill_(3.0)), 4, 4)
    >>> round(s.item(), 4)
    3.0
    """
    layer = first_layer(model)
    weight = layer.weight.double()
    with torch.autocast(weight.device.type, enabled=False):
        if isinstance(layer, nn.Conv2d):
            if layer.groups != 1 or layer.dilation != (1, 1) or layer.padding_mode != "zeros":
                raise UserError(f"the first layer is {layer}; its sensitivity is known without groups, dilation and "
                                "with zeros around the image")  # fmt: skip
            weight = _by_phases(weight, layer.stride)
            room = [-(-size // step) for size, step in zip((width, height), reversed(layer.stride), strict=True)]
            weight = torch.fft.rfft2(pad(weight, (0, room[0], 0, room[1]))).permute(2, 3, 0, 1)
        gram = weight.mH @ weight if weight.shape[-1] <= weight.shape[-2] else weight @ weight.mH
        found = torch.linalg.eigvalsh(gram).max().clamp(min=0).sqrt()
        std = [module.std.min().double() for module in model.modules() if isinstance(module, Normalize)]
        return found / std[0] if std else found


def _by_phases(weight: Tensor, stride: tuple[int, ...]) -> Tensor:
    """A convolution with a stride (K, C, h, w) as one without, over the image's phases (K, C s s', h / s, w / s')."""
    rows, columns = (-(-size // step) for size, step in zip(weight.shape[2:], stride, strict=True))
    whole = pad(weight, (0, columns * stride[1] - weight.shape[3], 0, rows * stride[0] - weight.shape[2]))
    parts = whole.unflatten(2, (rows, stride[0])).unflatten(4, (columns, stride[1]))  # (K, C, h, s, w, s')
    return parts.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
