"""MART: misclassified images weigh more (Wang et al. 2020)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, logsigmoid

from gambeson import geometry
from gambeson.attacks.objectives import at as value_at
from gambeson.attacks.objectives import best_other
from gambeson.losses.terms import answer, ascend, at_least, jittered, kl_of_each, not_negative, searched
from gambeson.types import Ball, Images, Labels, Norm


def mart(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    eps: float,
    weight: float = 5.0,
    norm: Norm = "linf",
    steps: int = 10,
    step_size: float | None = None,
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """BCE(p(x'), y) + weight KL( p(x) || p(x') ) (1 - p_y(x)), x' = where steps on the cross-entropy end.

    BCE = -log p_y(x') - log(1 - max_{k != y} p_k(x')).

    Args:
        players: {"model": f}, images -> logits (N, K).
        x: images (N, C, H, W) in [0, 1]; x' is in [0, 1] too.
        y: labels (N,).
        state: handed back as it came.
        generator: the source of the random starts x + 0.001 N(0, 1), on x's device.
        eps: radius of the ball in [0, 1] pixel units and in `norm`, >= 0.
        weight: of the second term, >= 0.
        norm: "linf", "l2" or "l1".
        steps: >= 1; step_size: in `norm`; None: 2.5 eps / steps.
    Returns:
        ({"cross_entropy": scalar, "margin": the second half of the BCE, "mart": weight times the divergence}, state).

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = mart({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                 generator=torch.Generator(), eps=0.1)
    >>> {name: round(term.item(), 4) for name, term in terms.items()}
    {'cross_entropy': 0.6931, 'margin': 0.6931, 'mart': 0.0}

    Paper: Wang et al., "Improving adversarial robustness requires revisiting misclassified examples", ICLR 2020.
    Gradients flow through all predictions, as in its code. We differ from it: log(1 - p) is computed from logits,
    where the code adds 1e-4 to 1 - p; clean and moved images go through f in one pass of 2 N rows.
    """
    at_least("steps", steps, 1)
    not_negative(weight=weight)
    model, ball = players["model"], Ball(norm, eps)
    start = jittered(x, generator)
    with searched(model):
        x_adv = ascend(
            lambda at: cross_entropy(answer(model, at), y, reduction="none"), start, onto=geometry.onto(x, ball),
            norm=norm, steps=steps, step_size=2.5 * eps / steps if step_size is None else step_size,
        )  # fmt: skip
    clean, moved = answer(model, torch.cat([x, x_adv])).chunk(2)
    unsure = 1 - value_at(log_softmax(clean, 1), y).exp()
    return {
        "cross_entropy": cross_entropy(moved, y),
        "margin": -log_without_largest(moved, y).mean(),
        "mart": weight * (kl_of_each(clean, moved) * unsure).mean(),
    }, state


def log_without_largest(logits: Tensor, y: Labels) -> Tensor:
    """log(1 - max_{k != y} p_k) (N,): with z the largest other logit, -log(1 + exp(z - logsumexp of all but it))."""
    other = best_other(logits, y)
    place = logits.scatter(1, y[:, None], float("-inf")).argmax(1, keepdim=True)
    rest = logits.scatter(1, place, float("-inf")).logsumexp(1)
    return logsigmoid(rest - other)
