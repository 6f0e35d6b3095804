"""The fast gradient method: PGD's one-step case."""

from collections.abc import Sequence

from gambeson.attacks.pgd import pgd
from gambeson.attacks.result import Result
from gambeson.types import Ball, Box, Classifier, Images, Labels


def fgsm(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    ball: Ball,
    step_size: float | None = None,
    loss: str = "cross_entropy",
    random_start: bool = False,
    targets: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """One steepest-ascent step of length eps: x_adv = P(x + eps * sign(grad_x L)) in linf, the same in l2 and l1 by
    their norms.

    Arguments as in `pgd`; `step_size` None is eps (Wong et al. 2020 take 1.25 * eps from a random start). Where the
    step lowers the loss the image itself is returned. A weak attack: for training, transfer and the check that
    iterating helps, not for evaluation. Three forward passes (clean, stepped, returned; four with a random start), one
    of them backward.

    >>> import torch
    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> fgsm(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0]), ball=Ball("linf", 0.2)).success
    tensor([True])

    Goodfellow et al. 2015, arXiv:1412.6572.
    """
    return pgd(
        logits,
        x,
        y,
        ball=ball,
        steps=1,
        step_size=(ball.eps or None) if step_size is None else step_size,
        loss=loss,
        random_start=random_start,
        targets=targets,
        box=box,
        keys=keys,
    )
