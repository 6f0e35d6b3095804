"""Random noise: many points of the ball, drawn blindly."""

from collections.abc import Sequence

import torch

from gambeson import geometry
from gambeson import keys as _keys
from gambeson.attacks.arguments import check_aims, check_some
from gambeson.attacks.result import Result
from gambeson.attacks.search import begin, end, going_on, look, record
from gambeson.types import Ball, Box, Classifier, Images, Labels


def random_noise(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    ball: Ball,
    draws: int = 10_000,
    loss: str = "margin",
    targets: Labels | None = None,
    towards: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """The worst of so many uniform points of the ball (projected on the box), and of x itself.

    No attack but a check of others: what blind luck finds, an attack that missed it did not look for (Athalye et al.
    2018). draws: >= 1, one call of the classifier each, until the image fools. loss, targets, towards, box, keys: as in
    `pgd`.

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> random_noise(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0]), ball=Ball("linf", 0.3), draws=99).success
    tensor([True])

    Carlini et al. 2019, arXiv:1902.06705, asks for 10,000 draws and more.
    """
    box = box or Box()
    keys = range(len(x)) if keys is None else keys
    check_some(x, y, box=box, keys=keys, draws=draws)
    check_aims(x, y, targets, towards)
    with torch.inference_mode(False), torch.no_grad():
        everyone, best, _ = begin(logits, x, y, targets, towards, loss=loss)
        rows, generators = everyone, [_keys.generator(int(key), "random_noise") for key in keys]
        for draw in range(draws if ball.eps > 0 else 0):
            if (left := going_on(rows, best, draw + 1)) is not None:
                if len(left) == 0:
                    break
                rows, generators = rows.select(left), [generators[place] for place in left.tolist()]
            x_adv = geometry.drawn(generators, rows.x, ball, box)
            record(best, rows, x_adv, look(rows, x_adv, loss, gradient=False), early_stop=True)
    return end(logits, x, y, best, norm=ball.norm, loss=loss, rows=everyone)
