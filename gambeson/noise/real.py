"""Real-valued noise, for training and for attacks, where no certificate is at stake."""

import torch
from torch import Tensor

from gambeson.noise.law import Noise


def draw(
    noise: Noise, shape: tuple[int, ...], generator: torch.Generator, device: torch.device | str, dtype: torch.dtype
) -> Tensor:
    """What `noisy` makes noisy images of, of shape `shape` on `device`: noise to add, or thresholds in [0, 2 scale)."""
    if noise.kind == "gaussian":
        return torch.randn(shape, generator=generator, device=device, dtype=dtype) * noise.scale
    uniform = torch.rand(shape, generator=generator, device=device, dtype=dtype) * 2 - 1
    if noise.kind == "splitting":
        return (uniform + 1) * noise.scale
    if noise.kind == "uniform":
        return uniform * noise.scale
    limit = 1 - torch.finfo(dtype).eps
    return -noise.scale * uniform.sign() * torch.log1p(-uniform.abs().clamp(max=limit))


def noisy(noise: Noise, images: Tensor, drawn: Tensor) -> Tensor:
    """Noisy images of `images` and what was drawn for them: their sum, which is never clipped.

    splitting: thresholds lie at drawn + 2 k scale for every integer k; a value becomes the middle of what the cell
    around it has in common with [0, 1] (Levine & Feizi 2021). That is a step function, so its gradient is passed on
    as if the value had been moved by a constant.

    >>> noisy(Noise("splitting", 0.5), torch.tensor([0.2, 0.9]), torch.tensor([0.4, 0.4]))
    tensor([0.2000, 0.7000])
    """
    if noise.kind != "splitting":
        return images + drawn
    width = 2 * noise.scale
    lower = drawn + width * torch.floor((images - drawn) / width)
    middle = (lower.clamp(min=0) + (lower + width).clamp(max=1)) / 2
    return middle.detach() + (images - images.detach())
