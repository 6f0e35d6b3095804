"""Training under noise (Cohen, Rosenfeld and Kolter 2019)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson.losses.terms import answer, at_least, noisy_copy
from gambeson.noise import Kind
from gambeson.types import Images, Labels


def noisy(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    sigma: float,
    draws: int = 1,
    noise: Kind = "gaussian",
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """Cross-entropy under noise: (1/m) sum_i CE(f(x + e_i), y), fresh e_i for every image and step.

    Args:
        players: {"model": f}, images -> logits (N, K).
        x: images (N, C, H, W) in [0, 1]; the noisy ones are not clipped.
        y: labels (N,).
        state: handed back as it came.
        generator: the source of all noise, on x's device.
        sigma: scale of the noise in [0, 1] pixel units, >= 0 (gaussian: sigma, laplace: b, uniform and
            splitting: half-width). 0 is `plain`.
        draws: m >= 1 noisy copies of every image, in one forward pass of m N rows.
        noise: "gaussian", "laplace", "uniform" or "splitting".
    Returns:
        ({"cross_entropy": scalar}, state).

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = noisy({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                  generator=torch.Generator(), sigma=0.5)
    >>> round(terms["cross_entropy"].item(), 4)
    0.6931

    Paper: Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized smoothing", ICML 2019 (m = 1).
    """
    at_least("draws", draws, 1)
    copies = noisy_copy(x.repeat(draws, 1, 1, 1), noise, sigma, generator)
    return {"cross_entropy": cross_entropy(answer(players["model"], copies), y.repeat(draws))}, state
