"""The high-confidence attack: not onto the boundary but into the other class, as sure as the classifier was before."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gambeson.attacks.arguments import check_aims, check_some
from gambeson.attacks.gradients import nearest_boundary
from gambeson.attacks.nearest import begin, end, keep
from gambeson.attacks.objectives import at
from gambeson.attacks.result import Result, vetted
from gambeson.attacks.search import Rows, Seen, column, gradient_to
from gambeson.errors import UserError
from gambeson.geometry import box_bounds
from gambeson.types import Box, Classifier, Images, Labels

_BEYOND = 1e-4  # of every step: what is exactly reached may be missed in float32


def high_confidence(
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    confidence: float | Tensor | None = None,
    steps: int = 500,
    step_size: float = 0.1,
    overshoot: float = 0.02,
    targets: Labels | None = None,
    box: Box | None = None,
    keys: Sequence[int] | None = None,
) -> Result:
    """A small l2 perturbation after which p_t, the probability of another class, is at least `confidence`.

        r <- r + towards_confidence(log p_t, grad_x log p_t, log C),   x_adv = x + (1 + overshoot) r in the box

    confidence  C in (0, 1), for all images or (N,); None: that of the prediction for x itself.
    targets     t, int64 (N,); None: the class whose linearised boundary is nearest at x, at one backward pass a class.
    steps       >= 1; step_size: the longest step, > 0, l2; overshoot: >= 0.

    Returns the nearest point visited whose class is t, with probability C, x where there is none (see
    `Result.reason`). Unlike other attacks it moves images that are misclassified, unless t is their class already.

    >>> flat = lambda images: torch.stack([images.sum((1, 2, 3)), torch.full((len(images),), 2.0)], 1)
    >>> found = high_confidence(flat, torch.full((1, 1, 2, 2), 0.6), torch.tensor([0]), confidence=0.6)
    >>> flat(found.x_adv).softmax(1)[0, 1].item() >= 0.6
    True

    Matyasko and Chau 2018, arXiv:1810.12576: their evaluation's settings. In training they take five steps without a
    box; `towards_confidence` is what they differentiate.
    """
    box = box or Box()
    check_some(x, y, box=box, keys=range(len(x)) if keys is None else keys, steps=steps)
    check_aims(x, y, targets, None)
    sure = torch.as_tensor(1.0 if confidence is None else confidence)
    if confidence is not None and not bool(((sure > 0) & (sure < 1)).all()):
        raise UserError(f"confidence is {confidence}; it must be > 0 and < 1, or None for that of the clean prediction")
    if not (step_size > 0 and overshoot >= 0):
        raise UserError(f"step_size is {step_size}, overshoot {overshoot}; they must be > 0 and >= 0")
    lower, upper = box_bounds(box, x.dtype)
    with torch.inference_mode(False):
        everyone, nearest = begin(logits, x, y, targets, loss="margin")
        whole, aims = everyone, everyone.aims
        if aims is None:
            aims = _nearest_class(everyone)
            whole = Rows(everyone.logits, everyone.number, everyone.x, everyone.y, aims, strict=True)
        nearest.distance.fill_(torch.inf)
        with torch.no_grad():
            p = whole.logits(whole.x).double().softmax(1)
        wanted = p.amax(1) if confidence is None else sure.to(p).expand(len(x))
        rows, x_adv, moved, log_c = whole, whole.x, torch.zeros_like(whole.x), wanted.log()
        for _ in range(steps + 1):
            if len(rows.x) == 0:
                break
            log_p, is_t, grad, refused = _log_probability(rows, x_adv)
            reached = is_t & (log_p >= log_c)
            keep(nearest, rows, x_adv, Seen(log_p, reached, refused, grad), "l2")
            left = (~reached).nonzero()[:, 0]
            rows, moved, log_c = rows.select(left), moved[left], log_c[left]
            move = towards_confidence(log_p[left], grad[left], log_c)
            length = torch.linalg.vector_norm(move.flatten(1), dim=1)
            move = move * column((step_size / length.clamp(min=1e-30)).clamp(max=1.0), move)
            moved = moved + move
            x_adv = (rows.x + (1 + overshoot) * moved).clamp(lower, upper)

    def sure_enough(x_adv: Images) -> Tensor:
        with torch.no_grad():
            return at(logits(x_adv).double().softmax(1), aims) >= wanted

    return end(
        logits, x, y, nearest, whole, norm="l2", loss="margin", box=box, holds=sure_enough,
        reasons=lambda row: f"no point was found whose class {int(aims[row])} has probability {float(wanted[row]):.4f}",
    )  # fmt: skip


def towards_confidence(log_p: Tensor, grad: Tensor, log_c: Tensor) -> Tensor:
    """The step (n, ...) to where log p would be log C if it were linear, and a hair beyond: 1e-4.

        (1e-4 + |log p - log C| / ||g||_2) g / ||g||_2,   g = grad_x log p

    log_p, log_c (n,); grad (n, ...). Pure and differentiable in all of them: with a `grad` that has a graph
    (create_graph=True), a training loss reaches the weights through the step. A zero gradient gives a zero step.
    """
    flat = grad.flatten(1)
    zero = (flat == 0).all(1, keepdim=True)
    length = torch.where(zero, torch.ones_like(flat), flat).norm(dim=1)  # no NaN from the root at zero
    share = (_BEYOND + (log_p - log_c).abs().to(grad.dtype) / length) / length
    return column(share, grad) * grad


def _log_probability(rows: Rows, x_adv: Images) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log p_t, whether t is the class, the gradient, and what is refused (see `Seen`)."""
    x_adv = x_adv.detach().requires_grad_()
    with torch.enable_grad():
        z = rows.logits(x_adv)
        aims = rows.y if rows.aims is None else rows.aims
        log_p = at(z.double().log_softmax(1), aims)
        grad = gradient_to(x_adv, log_p)
    grad, refused = vetted(z, grad)
    return log_p.detach(), z.detach().argmax(1) == aims, grad, refused


def _nearest_class(everyone: Rows) -> Labels:
    """Of each image, the class whose linearised boundary with y is nearest."""
    return nearest_boundary(everyone, everyone.x, "l2", "difference").towards
