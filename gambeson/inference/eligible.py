"""Which forms may be sampled: those in which an image's logits depend on the image alone.

If they changed with the other rows of a call, the classifier would depend on what else happens to be in the batch, and
no statement about one image would hold. If they change with the row that the image is in, the classifier is a mixture
over rows, which can be sampled (`gambeson.sampling`), at a cost.
"""

import torch
from torch import Tensor

from gambeson.inference.served import Served


def rows_are_independent(served: Served, images: Tensor) -> bool:
    """Whether each image's logits stay bit-identical when every other row of the call is replaced.

    `images`: at least 2 float images (n, C, H, W); each is tried in the first, a middle and the last row.
    """
    batch = served.form.batch
    rows = sorted({0, batch // 2, batch - 1})
    others = images.roll(1, 0)
    for image, other in zip(images, others, strict=True):
        for row in rows:
            first, second = image.expand(batch, *image.shape).clone(), other.expand(batch, *image.shape).clone()
            second[row] = image
            if not torch.equal(served(first)[row], served(second)[row]):
                return False
    return True


def positions_are_alike(served: Served, images: Tensor) -> bool:
    """Whether each image's logits are bit-identical in every row of a call that holds nothing else.

    With `rows_are_independent`, what else the call holds does not matter.
    """
    for image in images:
        logits = served(image.expand(served.form.batch, *image.shape))
        if not torch.equal(logits, logits[:1].expand_as(logits)):
            return False
    return True


def ends_in_float32(served: Served, images: Tensor) -> bool:
    """Whether a bf16 model's logits have more digits than bf16 has; where all have only those, ties are common."""
    if served.form.dtype != "bfloat16":
        return True
    logits = torch.cat([served(image.expand(served.form.batch, *image.shape))[:1] for image in images])
    return not torch.equal(logits, logits.bfloat16().float())
