"""Which forms may be sampled: those in which an image's logits depend on the image alone.

If they changed with the other rows of a call, the classifier would depend on what else happens to be in the batch, and
no statement about one image would hold. If they change with the row that the image is in, the classifier is a mixture
over rows, which can be sampled (`gambeson.sampling`), at a cost.
"""

import torch
from torch import Tensor

from gambeson.inference.served import Served


def refusal(served: Served, images: Tensor) -> str | None:
    """Why this form may not be sampled, in words; None: it may. `images`: as `rows_are_independent`."""
    if not rows_are_independent(served, images):
        return "an image's logits change when the other rows of its call change"
    if not ends_in_float32(served, images):
        return "its logits are bfloat16, in which ties are common: the model does not end in a torch.nn.Linear"
    return None


def rows_are_independent(served: Served, images: Tensor) -> bool:
    """Whether the logits of a call's rows stay bit-identical when other rows are replaced, for every pair of rows.

    images: at least 2 different float images (n, C, H, W), which fill the calls in turn. Half of the rows are replaced
    at a time, those with a certain binary digit: any two rows differ in some digit.
    """
    batch = served.form.batch
    rows = torch.arange(batch, device=images.device)
    before, after = images[rows % len(images)], images[(rows + 1) % len(images)]
    expected = served(before)
    for digit in range((batch - 1).bit_length()):
        for value in (0, 1):
            replaced = rows >> digit & 1 == value
            logits = served(torch.where(replaced[:, None, None, None], after, before))
            if not torch.equal(logits[~replaced], expected[~replaced]):
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
    logits = served(images[torch.arange(served.form.batch, device=images.device) % len(images)])
    return not torch.equal(logits, logits.bfloat16().float())
