"""SmoothMix: mixtures of an image and its far adversarial one (Jeong et al. 2021)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson.attacks.objectives import at as value_at
from gambeson.losses.terms import answer, ascend, at_least, draws_of, kl_from, not_negative, searched
from gambeson.noise import Kind
from gambeson.smoothed.soft import soft
from gambeson.types import Images, Labels


def smoothmix(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    sigma: float,
    step_size: float,
    weight: float = 5.0,
    steps: int = 4,
    draws: int = 2,
    noise: Kind = "gaussian",
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """(1/m) sum_i [ CE(f(x + e_i), y) + weight KL(t || p(x_mix + e_i)) ], the second for images that are right,

    x_mix = (1 - l) x + l x', t = (1 - l) p_mean(x) + l / K, l uniform in [0, 1/2]; x' = where steps on SmoothAdv's
    objective end, in no ball: far from x the classifier is to be unsure.

    Args:
        players: {"model": f}, images -> logits (N, K).
        x: images (N, C, H, W) in [0, 1]; x' is in [0, 1] too, the noisy ones are not clipped.
        y: labels (N,).
        state: handed back as it came.
        generator: the source of all noise and of l, on x's device.
        sigma: scale of the noise in [0, 1] pixel units, >= 0.
        step_size: > 0, l2 length of a step. Published for CIFAR-10: 0.5, 1, 2 at sigma 0.25, 0.5, 1.
        weight: >= 0; published 5, rising over the first 10 epochs. 0 is `noisy` with as many draws.
        steps: T >= 1. draws: m >= 1.
        noise: "gaussian", "laplace", "uniform" or "splitting".
    Returns:
        ({"cross_entropy": scalar, "smoothmix": the second term}, state).

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = smoothmix({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                      generator=torch.Generator(), sigma=0.5, step_size=1.0)
    >>> {name: round(term.item(), 4) for name, term in terms.items()}
    {'cross_entropy': 0.6931, 'smoothmix': 0.0}

    Paper: Jeong, Park, Kim, Lee, Kim and Shin, "SmoothMix: training confidence-calibrated smoothed classifiers for
    certified robustness", NeurIPS 2021, arXiv:2111.09277. The same e_i in the attack and in both passes; gradients flow
    through t, as in its code; first order. The one-step adversary that its code may take for x is not there. Two passes
    of m N rows: batch normalisation sees clean and mixed images one after the other.
    """
    at_least("steps", steps, 1)
    not_negative(weight=weight, step_size=step_size)
    model = players["model"]
    drawn, noisy = draws_of(x, noise, sigma, draws, generator)
    labels = y.repeat_interleave(draws)
    logits = answer(model, noisy(x[:, None], drawn).flatten(0, 1))
    if weight == 0:
        return {"cross_entropy": cross_entropy(logits, labels)}, state
    with searched(model):
        smoothed = soft(model, drawn, noisy=noisy)
        far = ascend(
            lambda at: -value_at(smoothed(at), y), x, onto=lambda at: at.clamp(0, 1), norm="l2", steps=steps,
            step_size=step_size,
        )  # fmt: skip
    share = torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype) / 2
    mean = logits.softmax(1).unflatten(0, (len(x), draws)).mean(1)
    target = (1 - share[:, None]) * mean + share[:, None] / mean.shape[1]
    share = share.reshape(-1, *[1] * (x.dim() - 1))
    mixed = answer(model, noisy(((1 - share) * x + share * far)[:, None], drawn).flatten(0, 1)).log_softmax(1)
    right = (mean.argmax(1) == y).to(x.dtype)
    apart = kl_from(target[:, None], mixed.unflatten(0, (len(x), draws))).mean(1)
    return {"cross_entropy": cross_entropy(logits, labels), "smoothmix": weight * (right * apart).mean()}, state
