"""A classifier of which nothing is known but its answers: scores, or no more than the class."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gambeson.errors import UserError, first_line
from gambeson.types import Images, Logits

Answer = Callable[[NDArray[np.float32]], NDArray[Any]]


class BlackBox(nn.Module):
    """Images (N, C, H, W) in [0, 1] -> scores (N, K), by asking `answer` with a float32 array; it has no gradient.

    answer    gives scores (N, K), logits or log-probabilities, or nothing but classes (N,), integers: an array, or a
              tensor on the CPU.
    identity  says which model this is: records of another one are refused. A version, a hash of its file.
    classes   how many, where `answer` gives classes: the class scores 1 and the others -1, so that attacks that need
              no more (boundary, random_noise, transfer) work as on scores.

    Attacks that need a gradient refuse it in words; square, spsa, boundary, random_noise and transfer take it, and so
    do smoothing and certificates.

    >>> brightest = BlackBox(lambda x: x.reshape(len(x), -1).argmax(1), identity="toy", classes=4)
    >>> brightest(torch.eye(4).reshape(4, 1, 2, 2)).argmax(1)
    tensor([0, 1, 2, 3])
    """

    identity: Tensor

    def __init__(self, answer: Answer, *, identity: str, classes: int | None = None) -> None:
        super().__init__()
        if classes is not None and classes < 2:
            raise UserError(f"classes is {classes}; it must be at least 2")
        self.answer, self.classes = answer, classes
        digest = hashlib.sha256(identity.encode()).digest()
        self.register_buffer("identity", torch.tensor(list(digest), dtype=torch.uint8))  # weights, as hashes see them
        self.eval()

    def forward(self, x: Images) -> Logits:
        images = x.detach().float().cpu().numpy()
        try:
            with torch.no_grad():
                found = np.asarray(self.answer(images))
        except (TypeError, AttributeError) as error:
            raise UserError(
                f"the black box fails on a NumPy array {images.shape}, float32 ({first_line(error)}); it is asked with "
                "arrays: torch.as_tensor(images) makes a tensor"
            ) from error
        if found.ndim == 1 and np.issubdtype(found.dtype, np.integer):
            return self._from_classes(torch.from_numpy(found.astype(np.int64))).to(x.device)
        return torch.from_numpy(np.ascontiguousarray(found, dtype=np.float32)).to(x.device)

    def _from_classes(self, found: Tensor) -> Tensor:
        if self.classes is None:
            raise UserError("the black box gives classes, not scores: say how many there are, BlackBox(..., classes=K)")
        if len(found) and not 0 <= int(found.min()) <= int(found.max()) < self.classes:
            raise UserError(f"the black box gives class {int(found.max())}; with {self.classes}, 0 is the first")
        return 2.0 * nn.functional.one_hot(found, self.classes).float() - 1.0
