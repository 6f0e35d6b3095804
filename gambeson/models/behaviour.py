"""Guard rails on what a model answers: logits (N, classes), the same twice, the same alone, not at chance."""

import torch
from torch import Tensor, nn

from gambeson.errors import first_line, out_of_memory
from gambeson.models.flag import Flag, doubt, refuse
from gambeson.types import Classifier, Images, Labels

SCORED = 500  # images on which the accuracy is estimated
TOLERANCE = 1e-3  # of the largest logit: float32 differs by some 1e-6 between batch splits, TF32 by some 1e-4
LOW_PRECISION = 5e-2  # the same for bfloat16 and float16
HALF = (torch.bfloat16, torch.float16)


def answer(logits: object, batch: Images, classes: int) -> Flag | None:
    """The answer is a float tensor (N, classes) without NaN or infinity."""
    count = len(batch)
    if not isinstance(logits, Tensor):
        remedy = "it must return the logits alone: wrap it in a module whose forward is, say, self.model(x)[0]"
        return refuse("output", f"the model returns a {type(logits).__name__}; {remedy}")
    if logits.ndim != 2 or len(logits) != count:
        remedy = f"logits must be ({count}, classes): flatten after the last layer, keep the batch dimension first"
        return refuse("output", f"the model gives shape {tuple(logits.shape)} for {count} images; {remedy}")
    if logits.shape[1] != classes:
        what = f"the model gives {logits.shape[1]} logits but the data has {classes} classes"
        return refuse("classes", f"{what}: use weights and data that belong together, or build with classes={classes}")
    if not logits.is_floating_point():
        return refuse("output", f"the model gives {logits.dtype}; return the logits, not the predicted class")
    if broken := int((~logits.isfinite()).any(1).sum()):
        remedy = "weights are damaged, training diverged, or half precision overflows (try float32)"
        return refuse("logits_not_finite", f"the logits of {broken} of {count} images are NaN or infinite: {remedy}")
    return None


def probabilities(logits: Tensor) -> Flag | None:
    """Rows that are >= 0 and sum to 1 are softmax outputs; log-softmax outputs are logits as good as any."""
    slack = 1e-2 if logits.dtype in HALF else 1e-4
    if bool((logits < 0).any()) or bool(((logits.double().sum(1) - 1).abs() > slack).any()):
        return None
    what = "the outputs are >= 0 and sum to 1: probabilities where logits are expected"
    remedy = "attacks become weak and losses wrong; remove the last softmax, or return its log"
    return doubt("probabilities", f"{what}; {remedy}")


def repeats(model: Classifier, batch: Images, logits: Tensor) -> Flag | None:
    """The same images get the same answer twice."""
    gap = difference(logits, model(batch))
    remedy = "switch off what is random in its forward: dropout without training=self.training, noise, random resizing"
    return refuse("random", f"the model answers differently when asked twice ({gap}): {remedy}") if gap else None


def splits(model: Classifier, batch: Images, logits: Tensor) -> Flag | None:
    """An image alone gets the answer that it gets in company (looked at on the first half of the batch)."""
    remedy = "keep images apart, with no statistics over the batch dimension"
    for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
        if "BatchNorm" in type(module).__name__ and getattr(module, "running_mean", 0) is None:
            remedy = f"layer {name!r} has no running statistics: build it with track_running_stats=True and retrain"
            break
    try:
        alone = torch.cat([model(image[None]) for image in batch[: len(batch) // 2]])
    except Exception as error:
        if out_of_memory(error):
            raise
        return refuse("batch_split", f"the model fails on an image alone ({first_line(error)}): {remedy}")
    company = logits[: len(alone)]
    if alone.shape != company.shape:
        remedy = "keep the batch dimension (squeeze(1), not squeeze())"
        return refuse("batch_split", f"the model gives shape {tuple(alone.shape)} for images one by one: {remedy}")
    if gap := difference(company, alone):
        return refuse(
            "batch_split",
            f"the answer depends on the other images in the batch, or on the place in it ({gap}): {remedy}",
        )
    return None


def accuracy(model: Classifier, x: Images, y: Labels, classes: int) -> Flag | None:
    """Accuracy within three standard errors of chance: something between pixels and labels is wrong."""
    rows = torch.linspace(0, len(x) - 1, min(SCORED, len(x))).long()  # spread out: files are often sorted by class
    right = sum(int((model(x[part]).argmax(1).cpu() == y[part].cpu()).sum()) for part in rows.split(100))
    chance = 1 / classes
    if right / len(rows) > chance + 3 * (chance * (1 - chance) / len(rows)) ** 0.5:
        return None
    remedy = "else the weights are not loaded, or channels (BGR) or labels are in another order"
    what = f"{right} of {len(rows)} clean images are right, near chance ({chance:.1%})"
    return doubt("near_chance", f"{what}: normalisation missing? Give --mean/--std as in training; {remedy}")


def difference(a: Tensor, b: Tensor) -> str:
    """How much two answers differ, in words; empty where it is within floating-point tolerance."""
    if a.shape != b.shape:
        return f"shapes {tuple(a.shape)} and {tuple(b.shape)}"
    gap = (a.double() - b.double()).abs().max().item()
    if gap <= (LOW_PRECISION if a.dtype in HALF else TOLERANCE) * a.abs().max().item():
        return ""
    changed = int((a.argmax(1) != b.argmax(1)).sum())
    return f"logits differ by {gap:.3g}, {changed} of {len(a)} predictions change"
