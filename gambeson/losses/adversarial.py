"""Adversarial training (Madry, Makelov, Schmidt, Tsipras and Vladu 2018)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson.losses.terms import answer, pgd, searched
from gambeson.types import Ball, Images, Labels, Norm


def adversarial(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    eps: float,
    norm: Norm = "linf",
    steps: int = 10,
    step_size: float | None = None,
    step_rule: str | None = None,
    random_start: bool = True,
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """Cross-entropy at the worst point of a ball: CE(f(x'), y), x' = what PGD finds around x in these steps.

    Args:
        players: {"model": f}, images -> logits (N, K).
        x: images (N, C, H, W) in [0, 1]; x' is in [0, 1] too.
        y: labels (N,).
        state: handed back as it came.
        generator: the source of the random starts, on x's device.
        eps: radius of the ball in [0, 1] pixel units and in `norm`, >= 0. 0 is `plain`.
        norm: "linf", "l2" or "l1".
        steps, step_size (None: 2.5 eps / steps), step_rule, random_start: as in `attacks.pgd`.
    Returns:
        ({"cross_entropy": scalar}, state).

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = adversarial({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                        generator=torch.Generator(), eps=0.1)
    >>> round(terms["cross_entropy"].item(), 4)
    0.6931

    Paper: Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018 (MNIST: 40 steps of
    0.01 in linf 0.3). We differ: of all points on PGD's way the worst one is taken, not the last; the attack sees the
    model in evaluation mode, and batch normalisation the attacked images only.
    """
    model = players["model"]
    keys = torch.randint(2**62, (len(x),), generator=generator, device=generator.device).tolist()
    with searched(model):
        found = pgd(
            model, x, y, ball=Ball(norm, eps), steps=steps, step_size=step_size, step_rule=step_rule,
            random_start=random_start, early_stop=False, keys=keys,
        )  # fmt: skip
    return {"cross_entropy": cross_entropy(answer(model, found.x_adv), y)}, state
