"""Natural accuracy: what the model says of images that nobody touched."""

from typing import Any

import torch

from gambeson.data import Dataset, Pairs, examples
from gambeson.evaluation.plan import Evaluation, inspect
from gambeson.evaluation.work import at_once
from gambeson.models.modes import device_of
from gambeson.types import Classifier


def clean(model: Classifier, data: Pairs, *, batch: int = 250) -> Evaluation:
    """Evaluate `model` (images in [0, 1] -> logits) on clean images; records hold predict, correct, confidence.

    data: a Dataset or any iterable of (x, y). Raises UserError for the mistakes that `gambeson.models.guards` knows.
    """
    data = examples(data)
    _, flags = inspect(model, data)
    device = device_of(model)

    @torch.inference_mode()
    def judge(part: Dataset) -> list[dict[str, Any]]:
        confidence, predict = model(part.pixels().to(device)).float().softmax(1).max(1)
        correct = predict.cpu() == part.labels
        columns = zip(predict.tolist(), correct.tolist(), confidence.tolist(), strict=True)
        return [{"predict": p, "correct": c, "confidence": round(q, 6)} for p, c, q in columns]

    return Evaluation("clean", {"batch": batch}, data, batch, at_once(judge), flags)
