"""Which forms may be sampled: those in which an image's logits depend on the image alone, and are the model's.

If they changed with the other rows of a call, the classifier would depend on what else happens to be in the batch, and
no statement about one image would hold. If they change with the row that the image is in, the classifier is a mixture
over rows, which can be sampled (`gambeson.sampling`), at a cost. If they were not the model's, up to rounding, a
certificate would be true of a function that nobody meant: folding drops forward hooks, a compiler may be wrong, and
bfloat16 has few digits.
"""

from math import gcd

import torch
from torch import Tensor

from gambeson.inference.form import Dtype
from gambeson.inference.served import Served
from gambeson.models.modes import device_of

# How far logits may be from the model's own, as a share of their spread. Rounding moves a number by 2^-8 of itself at
# most in bfloat16, and by 2^-11 in TF32, in which GPUs compute float32 convolutions. The roundings of all layers add up
# like independent errors, to a few of these in deep networks; 16 leave room for networks that magnify them.
ALLOWED: dict[Dtype, float] = {"bfloat16": 16 * 2.0**-8, "float32": 16 * 2.0**-11}
CACHE_LINE = 64  # bytes: kernels are chosen by where in one their images begin, if at all


def refusal(served: Served, images: Tensor) -> str | None:
    """Why this form may not be sampled, in words; None: it may. `images`: as `rows_are_independent`."""
    if not rows_are_independent(served, images):
        return "an image's logits change when the other rows of its call change"
    if not calls_are_alike(served, images):
        return "a call's logits depend on where in memory its images begin"
    if not ends_in_float32(served, images):
        return "its logits have 16 bits, in which ties are common: the model does not end in a float32 torch.nn.Linear"
    return unlike(served, images)


def unlike(served: Served, images: Tensor) -> str | None:
    """Why the logits are not those of the model as it is, in float32; None: they are. `images`: some that it will see.

    The difference and the spread (of a row's logits around their mean) are root mean squares over all images and
    classes. Images for which the model's own logits are not finite are left out: they count for no class.
    """
    if served.function is served.source:
        return None
    count = min(len(images), served.form.batch)
    with torch.inference_mode(), served.form.pinned():
        plain = served.source(images[:count].to(device_of(served.source))).double().cpu()
    found = served(images[torch.arange(served.form.batch, device=images.device) % count])[:count].double().cpu()
    finite = plain.isfinite().all(1)
    plain, found = (logits[finite] - logits[finite].mean(1, keepdim=True) for logits in (plain, found))
    share, allowed = (found - plain).norm() / plain.norm(), ALLOWED[served.form.dtype]
    if torch.equal(found, plain) or share <= allowed:
        return None
    return f"its logits are off those of the model in float32 by {share:.1%} of their spread, more than {allowed:.1%}"


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


def calls_are_alike(served: Served, images: Tensor) -> bool:
    """Whether a call's logits are bit-identical wherever in memory its images begin: sampling fills several calls'
    images at once, and they are parts of it. All places within a cache line that calls can begin at are tried.
    """
    batch = served.form.batch
    one = images[torch.arange(batch, device=images.device) % len(images)]
    expected = served(one)
    size = one[0].numel() * batch * served.form.zeros(tuple(images.shape[1:]), 0).element_size()
    calls = served.form.zeros(tuple(images.shape[1:]), max(3, CACHE_LINE // gcd(CACHE_LINE, size)))
    for at in range(0, len(calls), batch):
        calls[at : at + batch].copy_(one)
        if not torch.equal(served(calls[at : at + batch]), expected):
            return False
    return True


def ends_in_float32(served: Served, images: Tensor) -> bool:
    """Whether logits have more digits than bf16 has; where all have only those, ties are common. A model in float32 may
    have logits of so few digits for reasons of its own, but none that are of another type.
    """
    with torch.inference_mode(), served.form.pinned():
        some = images[torch.arange(served.form.batch, device=images.device) % len(images)]
        logits = served.function(served.form.laid_out(some))
    if logits.dtype not in (torch.float32, torch.float64):
        return False
    return served.form.dtype != "bfloat16" or not torch.equal(logits, logits.bfloat16().to(logits.dtype))
