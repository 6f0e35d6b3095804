"""Multi-Targeted: an attack on every other class in turn."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from gambeson.attacks.arguments import check_some, stopping
from gambeson.attacks.objectives import likeliest_others
from gambeson.attacks.pgd import pgd
from gambeson.attacks.result import Result
from gambeson.attacks.search import begin, end, look, record, unsettled
from gambeson.keys import key
from gambeson.types import Ball, Box, Classifier, Images, Labels


def multi_targeted(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    ball: Ball,
    attack: Callable[..., Result] = pgd,
    classes: int | None = None,
    loss: str = "difference",
    early_stop: bool = True,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
    **options: Any,
) -> Result:
    """The worst of one attack per class: it maximises z_t - z_y for t = the likeliest other class, the next one, ...

    A loss that names one class has no kinks where the runner-up changes, and reaches what the untargeted margin does
    not.

    attack      a sibling that takes `towards`: `pgd`, `apgd`, `fab`.
    classes     how many other classes, by the clean logits; None: all.
    loss        of the attack: "difference"; `apgd` with "dlr" is AutoAttack's APGD-T.
    early_stop  an image is done as soon as its class is any other; otherwise every class is tried, to the end.
    options     of the attack, which gets `loss`, `box` and `early_stop` too, and other `keys` for every class.

    Costs two calls, and the attack and one more as often as there are classes, for images that hold out. Returns the
    point of the first success, or without early stop of the fooling ones that of largest untargeted margin; where none
    fools, the one of largest margin. `Result.when` counts classes.

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> multi_targeted(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0]), ball=Ball("linf", 0.2)).success
    tensor([True])

    Gowal et al. 2019, arXiv:1910.09338; Qin et al. 2019, arXiv:1907.02610.
    """
    keys = range(len(x)) if keys is None else keys
    check_some(x, y, box=box or Box(), keys=keys, classes=classes)
    with torch.inference_mode(False):
        everyone, best, _ = begin(logits, x, y, None, None, loss="margin", early_stop=early_stop)
        options |= stopping(attack, early_stop)
        with torch.no_grad():
            ranked = likeliest_others(logits(everyone.x), everyone.y, classes)
        for place, towards in enumerate(ranked.unbind(1)):
            rows = unsettled(everyone, best)
            if len(rows.number) == 0:
                break
            names = [key(int(keys[row]), "multi_targeted", place) for row in rows.number.tolist()]
            found = attack(
                rows.logits, rows.x, rows.y, ball=ball, towards=towards[rows.number], loss=loss, box=box, keys=names,
                **options,
            )  # fmt: skip
            record(best, rows, found.x_adv, look(rows, found.x_adv, "margin", gradient=False), early_stop)
    return end(logits, x, y, best, norm=ball.norm, loss="margin", rows=everyone)
