"""Transfer: what fools another classifier, tried on this one."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from gambeson.attacks.arguments import stopping
from gambeson.attacks.pgd import pgd
from gambeson.attacks.result import Result
from gambeson.attacks.search import begin, end, look, record
from gambeson.types import Ball, Box, Classifier, Images, Labels


def transfer(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    ball: Ball,
    source: Classifier,
    attack: Callable[..., Result] = pgd,
    early_stop: bool = False,
    targets: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
    **options: Any,
) -> Result:
    """`attack` on `source`, to the end, judged on `logits`, which is called three times.

    A classifier that falls to images made for another one, and not to images made for itself, hides its gradients.
    early_stop: of the attack, where it has it; it would leave images right behind the other's boundary. Options are the
    attack's.

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> x, y = torch.full((1, 1, 2, 2), 0.6), torch.tensor([0])
    >>> transfer(lambda images: flat(images.round(decimals=1)), x, y, ball=Ball("linf", 0.2), source=flat).success
    tensor([True])

    Papernot et al. 2016, arXiv:1605.07277.
    """
    options |= stopping(attack, early_stop)
    found = attack(source, x, y, ball=ball, targets=targets, box=box, keys=keys, **options)
    with torch.inference_mode(False), torch.no_grad():
        everyone, best, _ = begin(logits, x, y, targets, None, loss="margin")
        record(best, everyone, found.x_adv, look(everyone, found.x_adv, "margin", gradient=False), early_stop=True)
    return end(logits, x, y, best, norm=ball.norm, loss="margin", rows=everyone)
