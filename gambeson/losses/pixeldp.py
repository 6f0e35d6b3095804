"""PixelDP training: noise behind the first layer, as much as it can carry images apart (Lecuyer et al. 2019)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson.errors import UserError
from gambeson.losses.terms import answer, at_least
from gambeson.models.sensitivity import first_layer, sensitivity
from gambeson.types import Images, Labels


def pixeldp(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    sigma: float,
    draws: int = 1,
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """(1/m) sum_i CE(h(g(x) + s sigma z_i), y), f = h after g, g the first layer, z_i standard normal, fresh.

    Args:
        players: {"model": f}, images -> logits (N, K); its first layer a convolution or linear.
        x: images (N, C, H, W) in [0, 1].
        y: labels (N,).
        state: handed back as it came.
        generator: the source of all noise, on x's device.
        sigma: in l2 pixel units of the image, in [0, 10]: s, a bound on |g(x) - g(x')| / |x - x'| at the weights of
            the moment (`models.sensitivity`), makes it the noise behind the layer. Held fixed in the gradient.
        draws: m >= 1 noisy copies of every image, in one forward pass of m N rows.
    Returns:
        ({"cross_entropy": scalar}, state).

    Paper: Lecuyer, Atlidakis, Geambasu, Hsu and Jana, "Certified robustness to adversarial examples with differential
    privacy", S&P 2019. There s is kept at 1 by projecting the weights, which gives the same ratio of noise to change.
    """
    at_least("draws", draws, 1)
    if not 0 <= sigma <= 10:
        raise UserError(f"sigma is {sigma}; it must be in [0, 10], in pixel units")
    model = players["model"]
    with _noise_behind_the_first_layer(model, x, sigma, generator):
        logits = answer(model, x.repeat(draws, 1, 1, 1))
    return {"cross_entropy": cross_entropy(logits, y.repeat(draws))}, state


@contextmanager
def _noise_behind_the_first_layer(
    model: nn.Module, x: Images, sigma: float, generator: torch.Generator
) -> Iterator[None]:
    def hook(layer: nn.Module, asked: object, out: Tensor) -> Tensor:
        scale = sigma * sensitivity(model, *x.shape[2:])  # asked now: `awp` moves the weights for a while
        return out + scale.to(out.dtype) * torch.randn(
            out.shape, generator=generator, device=out.device, dtype=out.dtype
        )

    handle = first_layer(model).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
