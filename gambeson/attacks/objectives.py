"""What an attack maximises: cross-entropy, margin, difference, DLR, untargeted and targeted, in float32 or better."""

import torch
from torch import Tensor
from torch.nn import functional as F

from gambeson.errors import UserError
from gambeson.types import Labels, Logits

LOSSES = ("cross_entropy", "margin", "difference", "dlr", "log_probability")


def objective(loss: str, logits: Logits, y: Labels, targets: Labels | None = None) -> Tensor:
    """The value (N,) that an attack increases.

    | loss | untargeted | targeted at t |
    |---|---|---|
    | cross_entropy | -log p_y | log p_t |
    | margin | max_{s != y} z_s - z_y | z_t - max_{s != t} z_s |
    | difference | max_{s != y} z_s - z_y | z_t - z_y |
    | log_probability | -z_y | z_t |
    | dlr | (max_{s != y} z_s - z_y) / (z_(1) - z_(3)) | (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2) |

    z_(k) is the k-th largest logit. Cross-entropy is computed as log(1 + exp(log-sum-exp of the others - z_y)): the
    same number, but in float32 its gradient survives margins up to 87 instead of 17: mere confidence hides nothing.
    The margin is positive exactly when the attack succeeds, ties apart. DLR ignores shift and scale of the logits
    (Croce and Hein 2020, arXiv:2003.01690) and needs 3 classes (targeted 4): otherwise UserError.

    >>> objective("margin", torch.tensor([[2.0, 1.0, -1.0]]), torch.tensor([0]))
    tensor([-1.])
    """
    z = full(logits)
    if loss == "cross_entropy":
        wanted = y if targets is None else targets
        others = z.scatter(1, wanted[:, None], float("-inf")).logsumexp(1)
        unlikely = F.softplus(others - at(z, wanted))  # 1 - p_y rounds to 0 in float32 at a margin of 17; this does not
        return unlikely if targets is None else -unlikely
    if loss in ("margin", "difference"):
        if targets is None:
            return best_other(z, y) - at(z, y)
        return at(z, targets) - (best_other(z, targets) if loss == "margin" else at(z, y))
    if loss == "log_probability":  # of outputs that are logs of probabilities, and are not normalised again
        return -at(z, y) if targets is None else at(z, targets)
    if loss != "dlr":
        raise UserError(f"loss is {loss!r}; it must be one of {', '.join(LOSSES)}")
    needed = 3 if targets is None else 4
    if z.shape[1] < needed:
        kind = "dlr" if targets is None else "targeted dlr"
        raise UserError(f"loss is {kind} with {z.shape[1]} classes; it needs {needed}: use margin or cross_entropy")
    top = z.topk(needed, dim=1).values
    if targets is None:
        return (best_other(z, y) - at(z, y)) / (top[:, 0] - top[:, 2] + 1e-12)
    return (at(z, targets) - at(z, y)) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def full(logits: Logits) -> Logits:
    """Logits in float32 or better: in half precision, differences of log-probabilities are mostly rounding."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def fooled(logits: Logits, y: Labels, targets: Labels | None = None) -> Tensor:
    """Whether an attack has succeeded (N,), bool: the prediction is not y, or, if targeted, is the target.

    >>> fooled(torch.tensor([[2.0, 1.0]]), torch.tensor([1]))
    tensor([True])
    """
    prediction = logits.argmax(1)
    return prediction != y if targets is None else prediction == targets


def at(z: Tensor, classes: Labels) -> Tensor:
    """z[i, classes[i]] (N,)."""
    return z.gather(1, classes[:, None])[:, 0]


def likeliest_others(z: Tensor, y: Labels, classes: int | None = None) -> Labels:
    """The classes but y, the likeliest first (N, K - 1), or so many of them; what is ruled out, -inf, comes last.

    >>> likeliest_others(torch.tensor([[3.0, float("-inf"), 2.0]]), torch.tensor([0]))
    tensor([[2, 1]])
    """
    ranked = z.detach().argsort(dim=1, descending=True)
    place = torch.arange(z.shape[1] - 1, device=z.device)
    own = (ranked == y[:, None]).long().argmax(1, keepdim=True)
    return ranked.gather(1, place + (place >= own))[:, :classes]


def best_other(z: Tensor, classes: Labels) -> Tensor:
    """max_{s != classes[i]} z[i, s] (N,)."""
    return z.scatter(1, classes[:, None], float("-inf")).amax(1)
