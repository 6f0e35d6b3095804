"""MACER: a hinge on the certified radius itself (Zhai et al. 2020)."""

from collections.abc import Mapping
from math import log

import torch
from torch import Tensor, nn

from gambeson.attacks.objectives import at as value_at
from gambeson.errors import UserError
from gambeson.losses.terms import answer, draws_of, not_negative
from gambeson.types import Images, Labels


def macer(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    sigma: float,
    weight: float = 16.0,
    draws: int = 16,
    beta: float = 16.0,
    gamma: float = 8.0,
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """-log (1/m) sum_i p_y(x + e_i) + weight sigma/2 max(0, gamma - xi), the second for images that are right,

    xi = Phi^-1(q_(1)) - Phi^-1(q_(2)), of the largest and second largest of q = (1/m) sum_i softmax(beta f(x + e_i)):
    sigma/2 xi is the radius that the soft smoothed classifier would be certified for.

    Args:
        players: {"model": f}, images -> logits (N, K).
        x: images (N, C, H, W) in [0, 1]; the noisy ones are not clipped.
        y: labels (N,).
        state: handed back as it came.
        generator: the source of all noise, on x's device.
        sigma: standard deviation of the Gaussian noise in [0, 1] pixel units, >= 0.
        weight: >= 0. Published for MNIST: 16 (6 at sigma 1) after 30 of 90 epochs with 0.
        draws: m >= 1; published 16.
        beta: inverse temperature, > 0; gamma: of the hinge, > 0.
    Returns:
        ({"cross_entropy": scalar, "radius": the second term}, state). An image takes part in the second while it is
        right and |xi| <= gamma, with xi finite.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = macer({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                  generator=torch.Generator(), sigma=0.5, weight=1.0)
    >>> {name: round(term.item(), 4) for name, term in terms.items()}
    {'cross_entropy': 0.6931, 'radius': 2.0}

    Paper: Zhai et al., "MACER: attack-free and scalable robust training via maximizing certified radius", ICLR 2020,
    arXiv:2001.02378. First order, no attack; all copies go through f in one pass of m N rows. We differ from its code:
    the log of the mean by logsumexp, not log(p + 1e-10).
    """
    not_negative(weight=weight)
    if not (beta > 0 and gamma > 0):
        raise UserError(f"beta is {beta} and gamma {gamma}; both must be > 0")
    drawn, noisy = draws_of(x, "gaussian", sigma, draws, generator)
    logits = answer(players["model"], noisy(x[:, None], drawn).flatten(0, 1)).unflatten(0, (len(x), draws))
    log_p = logits.log_softmax(2).logsumexp(1) - log(draws)
    terms = {"cross_entropy": -value_at(log_p, y).mean()}
    if weight and sigma:
        (first, second), right = _top(logits, beta, y)
        with torch.no_grad():
            xi = torch.special.ndtri(first) - torch.special.ndtri(second)
            counts = right & xi.isfinite() & (xi.abs() <= gamma)
        first, second = torch.where(counts, first, 0.6), torch.where(counts, second, 0.4)  # where Phi^-1 has a slope
        short = gamma - (torch.special.ndtri(first) - torch.special.ndtri(second))
        terms["radius"] = weight * sigma / 2 * torch.where(counts, short, 0.0).mean()
    return terms, state


def _top(logits: Tensor, beta: float, y: Labels) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The two largest mean probabilities (N,), and whether the largest is y's."""
    top = (beta * logits).softmax(2).mean(1).topk(2, dim=1)
    return (top.values[:, 0], top.values[:, 1]), top.indices[:, 0] == y
