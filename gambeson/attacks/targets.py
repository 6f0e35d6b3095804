"""Which class a targeted attack aims at."""

from collections.abc import Sequence

import torch

from gambeson import keys as _keys
from gambeson.errors import UserError
from gambeson.types import Classifier, Images, Labels


def random_targets(y: Labels, classes: int, keys: Sequence[int]) -> Labels:
    """A class drawn uniformly from the `classes` - 1 others for every label (N,); image i uses keys.generator(keys[i],
    "target").

    >>> bool((random_targets(torch.tensor([0, 1]), 2, [7, 8]) == torch.tensor([1, 0])).all())
    True
    """
    if classes < 2:
        raise UserError(f"classes is {classes}; a target needs at least 2 classes")
    if len(keys) != len(y):
        raise UserError(f"keys has {len(keys)} entries for {len(y)} labels; give one integer per image")
    ahead = [int(_keys.generator(int(key), "target").integers(1, classes)) for key in keys]
    return (y + torch.tensor(ahead, dtype=torch.int64, device=y.device)) % classes


def least_likely(logits: Classifier, x: Images, y: Labels) -> Labels:
    """The class (N,) with the smallest logit, y excepted (Kurakin et al. 2017, arXiv:1611.01236): the hardest single
    target.

    >>> least_likely(lambda images: torch.tensor([[0.0, 2.0, 1.0]]), torch.zeros(1, 1, 1, 1), torch.tensor([0]))
    tensor([2])
    """
    with torch.no_grad():
        z = logits(x)
    return z.scatter(1, y[:, None], float("inf")).argmin(1)
