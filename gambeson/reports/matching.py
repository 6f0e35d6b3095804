"""Whether two evaluations saw the same images, and which rows of each are the same image."""

import numpy as np

from gambeson.reports.series import Array, Images
from gambeson.reports.subsets import images_name


def matched(a: Images, b: Images) -> tuple[Array, Array, str] | str:
    """Rows of `a` and of `b` that hold the same images, and how that is known; or, as text, why they cannot be paired.

    Images are the same when index and content hash agree. A log holds no hashes: then index and label must agree.
    """
    shared, left, right = np.intersect1d(a.index, b.index, return_indices=True)
    if not shared.size:
        return "they share no image"
    if a.hash is not None and b.hash is not None:
        differ = [index for index, i, j in zip(shared, left, right, strict=True) if a.hash[i] != b.hash[j]]
        if differ:
            first = f"image {differ[0]} first"
            return f"{len(differ)} of the {images_name(shared.size)} with equal index have other content ({first})"
        how = "index and content hash"
    else:
        how = "index and label (a log holds no hashes)"
    unequal = shared[a.label[left] != b.label[right]]
    if unequal.size:
        first = f"image {unequal[0]} first"
        return f"{unequal.size} of the {images_name(shared.size)} with equal index have another label ({first})"
    return left, right, how
