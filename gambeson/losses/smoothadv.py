"""SmoothAdv: adversarial training of the smoothed classifier (Salman et al. 2019)."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson import geometry
from gambeson.attacks.objectives import at as value_at
from gambeson.errors import UserError
from gambeson.losses.terms import (
    answer,
    ascend,
    at_least,
    consistency_of,
    ddn,
    draws_of,
    not_negative,
    searched,
    soft_cross_entropy,
)
from gambeson.noise import Kind
from gambeson.smoothed.soft import Order, soft
from gambeson.smoothed.stein import stein
from gambeson.types import Ball, Classifier, Images, Labels

LEVELS = 255  # of the images that DDN visits, as published


def smoothadv(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    sigma: float,
    eps: float,
    draws: int = 2,
    attack: Literal["pgd", "ddn"] = "pgd",
    steps: int = 2,
    step_size: float | None = None,
    gradient: Literal["autograd", "stein"] = "autograd",
    order: Order = "log_of_mean",
    consistency: float = 0.0,
    entropy: float = 0.5,
    stability: float = 0.0,
    noise: Kind = "gaussian",
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """(1/m) sum_i CE(f(x' + e_i), y), x' = where steps on -log (1/m) sum_i p_y(x' + e_i) end, with the same e_1 .. e_m.

    Args:
        players: {"model": f}, images -> logits (N, K).
        x: images (N, C, H, W) in [0, 1]; x' is in [0, 1] too, the noisy ones are not clipped. Published: every batch
            is cut into m parts, each with m draws and a step of its own; that is a batch of batch/m here.
        y: labels (N,).
        state: handed back as it came.
        generator: the source of all noise, on x's device.
        sigma: scale of the noise in [0, 1] pixel units, >= 0.
        eps: l2 radius of the attack in [0, 1] pixel units, >= 0; published with a linear warm-up over the first 10
            epochs. 0 is `noisy` with as many draws.
        draws: m >= 1 (2 for gradient = "stein").
        attack: "pgd": normalised steps from x. "ddn": the nearest point that fools the soft smoothed classifier, of
            those with 255 levels, drawn back into the ball; x where there is none.
        steps: T >= 1. step_size: of pgd, None: 2 eps / T.
        gradient: "autograd", or "stein", which only asks for scores (m >= 2, Gaussian noise).
        order: "log_of_mean", or "mean_of_log": the attack climbs (1/m) sum_i -log p_y, which is another classifier's.
        consistency, entropy: weights of (1/m) sum_i KL(p_mean || p_i) and of H(p_mean), the second only with the first.
        stability: weight of H(p(x), p(x' + e_i)), the clean prediction being the target.
        noise: "gaussian", "laplace", "uniform" or "splitting".
    Returns:
        ({"cross_entropy": scalar, and "consistency", "stability" where they have weights}, state).

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = smoothadv({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                      generator=torch.Generator(), sigma=0.5, eps=0.5)
    >>> round(terms["cross_entropy"].item(), 4)
    0.6931

    Paper: Salman et al., "Provably robust deep learning via adversarially trained smoothed classifiers", NeurIPS 2019,
    arXiv:1906.04584. The attack sees the model in evaluation mode; x' is held fixed, first order. With `consistency`
    as in Jeong and Shin 2020. We differ from its code: where a gradient is zero there is no step, not a random one;
    DDN asks the mean prediction, not the majority.
    """
    not_negative(consistency=consistency, entropy=entropy, stability=stability)
    at_least("steps", steps, 1)
    if attack not in ("pgd", "ddn") or gradient not in ("autograd", "stein"):
        raise UserError(f"attack is {attack!r}, gradient {gradient!r}; pgd or ddn, autograd or stein")
    if gradient == "stein" and (noise, order) != ("gaussian", "log_of_mean"):
        raise UserError(f"gradient is stein with {noise} noise and {order}; it is for gaussian noise and log_of_mean")
    model, ball = players["model"], Ball("l2", eps)
    drawn, noisy = draws_of(x, noise, sigma, draws, generator)
    x_adv = x
    if eps > 0:
        with searched(model):
            smoothed: Classifier = (
                stein(model, drawn, sigma=sigma)
                if gradient == "stein"
                else soft(model, drawn, noisy=noisy, order=order)
            )
            if attack == "ddn":
                x_adv = _nearest(smoothed, x, y, ball, steps, generator)
            else:
                x_adv = ascend(
                    lambda at: -value_at(smoothed(at), y), x, onto=geometry.onto(x, ball), norm="l2", steps=steps,
                    step_size=2 * eps / steps if step_size is None else step_size,
                )  # fmt: skip
    copies = noisy(x_adv[:, None], drawn).flatten(0, 1)
    clean, moved = _both(model, x, copies) if stability else (None, answer(model, copies))
    terms = {"cross_entropy": cross_entropy(moved, y.repeat_interleave(draws))}
    if consistency:
        terms["consistency"] = consistency_of(moved.unflatten(0, (len(x), draws)), consistency, entropy)
    if clean is not None:
        terms["stability"] = stability * soft_cross_entropy(clean.repeat_interleave(draws, 0), moved)
    return terms, state


def _nearest(smoothed: Classifier, x: Images, y: Labels, ball: Ball, steps: int, generator: torch.Generator) -> Images:
    keys = torch.randint(2**62, (len(x),), generator=generator, device=generator.device).tolist()
    found = ddn(smoothed, x, y, steps=steps, initial=ball.eps, levels=LEVELS, keys=keys, loss="log_probability")
    return x + (found.x_adv - x).renorm(2, 0, ball.eps)


def _both(model: Callable[[Images], Tensor], x: Images, copies: Images) -> tuple[Tensor, Tensor]:
    """Clean and noisy images in one pass."""
    z = answer(model, torch.cat([x, copies]))
    return z[: len(x)], z[len(x) :]
