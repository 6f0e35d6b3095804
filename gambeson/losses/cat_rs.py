"""CAT-RS: confidence-aware training for randomised smoothing (Jeong, Kim and Shin 2023)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson.losses.terms import answer, ascend, at_least, draws_of, kl_from, not_negative, searched
from gambeson.models.modes import evaluating
from gambeson.types import Images, Labels


def cat_rs(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    sigma: float,
    eps: float = 1.0,
    weight: float = 1.0,
    steps: int = 4,
    draws: int = 4,
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """(1/m) sum of the K smallest CE(f(x + e_i), y), and where K = m: weight max_i KL(t || p(x + e_i')),

    K from Bin(m, share of the m draws that are right), at least 1: images that the smoothed classifier is unsure of
    keep only their easiest draws. e_i' = e_i moved by at most eps in l2 to where the KL is large, brought back to the
    mean and about the length of e_i; t = the smoothed prediction.

    Args:
        players: {"model": f}, images -> logits (N, K). With "teacher", t is its mean prediction under these draws,
            in evaluation mode; published: a network trained under noise of sigma 0.25. Without, the model's own, held
            fixed.
        x: images (N, C, H, W) in [0, 1]; the noisy ones are not clipped.
        y: labels (N,).
        state: handed back as it came.
        generator: the source of all noise and of K, on x's device.
        sigma: standard deviation of the Gaussian noise in [0, 1] pixel units, >= 0.
        eps: l2 radius around every e_i, >= 0; published 1, in steps of 2 eps / T.
        weight: >= 0; published 0.5, 1, 2 at sigma 0.25, 0.5, 1.
        steps: T >= 1; draws: m >= 1, published 4.
    Returns:
        ({"cross_entropy": scalar, "worst": the second term}, state).

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = cat_rs({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                   generator=torch.Generator(), sigma=0.5)
    >>> {name: round(term.item(), 4) for name, term in terms.items()}
    {'cross_entropy': 0.6931, 'worst': 0.0}

    Paper: Jeong, Kim and Shin, "Confidence-aware training of smoothed classifiers for certified robustness", AAAI 2023,
    arXiv:2212.09000; as in its code the sum of the K smallest is divided by m. First order; the search sees the model
    in evaluation mode. Two passes of m N rows: batch normalisation sees one after the other.
    """
    at_least("steps", steps, 1)
    not_negative(weight=weight, eps=eps)
    model = players["model"]
    drawn, noisy = draws_of(x, "gaussian", sigma, draws, generator)
    logits = answer(model, noisy(x[:, None], drawn).flatten(0, 1))
    each = cross_entropy(logits, y.repeat_interleave(draws), reduction="none").unflatten(0, (len(x), draws))
    right = (logits.argmax(1) == y.repeat_interleave(draws)).unflatten(0, (len(x), draws)).to(x.dtype).mean(1)
    luck = torch.rand(len(x), draws, generator=generator, device=x.device, dtype=x.dtype)
    most = (luck < right[:, None]).sum(1).clamp(min=1)
    easiest = torch.arange(draws, device=x.device) < most[:, None]
    terms = {"cross_entropy": (each.sort(1).values * easiest).mean()}
    if weight == 0:
        return terms, state
    with torch.no_grad():
        judge = logits.detach()
        if "teacher" in players:
            with evaluating(players["teacher"]) as teacher:
                judge = answer(teacher, noisy(x[:, None], drawn).flatten(0, 1))
        target = judge.softmax(1).unflatten(0, (len(x), draws)).mean(1)

    def apart(noise: Tensor) -> Tensor:
        log_p = answer(model, x.repeat_interleave(draws, 0) + noise).log_softmax(1)
        return kl_from(target.repeat_interleave(draws, 0), log_p)

    start = drawn.flatten(0, 1)
    with searched(model):
        moved = ascend(
            apart, start, onto=lambda noise: _like(start + (noise - start).renorm(2, 0, eps), start), norm="l2",
            steps=steps, step_size=2 * eps / steps,
        ) if eps else start  # fmt: skip
    worst = apart(moved).unflatten(0, (len(x), draws)).amax(1)
    return {**terms, "worst": weight * (worst * (most == draws)).mean()}, state


def _like(noise: Tensor, first: Tensor) -> Tensor:
    """`noise` with the mean of `first` and its mean square before it is centred, row by row, as published."""
    axes = tuple(range(1, noise.dim()))
    size = noise.square().mean(axes, keepdim=True).sqrt()
    scaled = (noise - noise.mean(axes, keepdim=True)) / torch.where(size > 0, size, 1.0)
    return first.mean(axes, keepdim=True) + scaled * first.square().mean(axes, keepdim=True).sqrt()
