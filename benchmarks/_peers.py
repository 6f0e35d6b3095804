"""What `certify.py` compares Gambeson with, one side a process: its JSON argument says what to do, its output is JSON.

`published` is CERTIFY of Cohen, Rosenfeld and Kolter 2019 as their core.py (github.com/locuslab/smoothing) has it: one
image after another, float32, noise by torch.randn_like, a vote counted at a time, statsmodels' Clopper-Pearson bound.
Two things are kinder to it than the original: inference mode instead of no_grad, and a batch size that was chosen by
trial. `art` is PyTorchRandomizedSmoothing.certify of adversarial-robustness-toolbox as it is, in inference mode.
`forward` is the rate at which Gambeson's own inference form answers one fixed batch again and again, the most that
sampling could reach.
"""

import json
import sys
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor, nn

from gambeson import data, models
from gambeson.types import Classifier

ABSTAIN = -1


def sample_noise(
    model: Classifier, x: Tensor, num: int, sigma: float, batch_size: int, classes: int
) -> NDArray[np.int64]:
    counts = np.zeros(classes, dtype=int)
    for _ in range(ceil(num / batch_size)):
        this_batch_size = min(batch_size, num)
        num -= this_batch_size
        batch = x.repeat((this_batch_size, 1, 1, 1))
        noise = torch.randn_like(batch) * sigma
        predictions = model(batch + noise).argmax(1)
        for prediction in predictions.cpu().numpy():
            counts[prediction] += 1
    return counts


@torch.inference_mode()
def certify(
    model: Classifier, x: Tensor, n0: int, n: int, *, sigma: float, alpha: float, batch_size: int, classes: int
) -> tuple[int, float]:
    from statsmodels.stats.proportion import proportion_confint

    selected = int(sample_noise(model, x, n0, sigma, batch_size, classes).argmax())
    hits = sample_noise(model, x, n, sigma, batch_size, classes)[selected]
    p_lower = proportion_confint(hits, n, alpha=2 * alpha, method="beta")[0]
    if p_lower < 0.5:
        return ABSTAIN, 0.0
    return selected, float(sigma * norm.ppf(p_lower))


def published(ask: dict[str, Any], model: nn.Module, part: data.Dataset) -> list[tuple[int, float, float]]:
    settings = {name: ask[name] for name in ("sigma", "alpha", "batch_size")} | {"classes": len(part.classes)}
    images = part.pixels().to(ask["device"])
    certify(model, images[0], 1, ask["batch_size"], **settings)  # warm up
    found = []
    for image in images:
        start = perf_counter()
        answer = certify(model, image, ask["select_draws"], ask["draws"], **settings)
        found.append((*answer, perf_counter() - start))
    return found


@torch.inference_mode()
def art(ask: dict[str, Any], model: nn.Module, part: data.Dataset) -> list[tuple[int, float, float]]:
    from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing

    smoothed = PyTorchRandomizedSmoothing(
        model=model, loss=nn.CrossEntropyLoss(), input_shape=tuple(part.images.shape[1:]), nb_classes=len(part.classes),
        device_type="gpu" if ask["device"] == "cuda" else "cpu", sample_size=ask["select_draws"], scale=ask["sigma"],
        alpha=ask["alpha"],
    )  # fmt: skip
    images = part.pixels().numpy()
    smoothed.certify(images[:1], n=ask["batch_size"], batch_size=ask["batch_size"])  # warm up
    found = []
    for image in images:
        start = perf_counter()
        predict, radius = smoothed.certify(image[None], n=ask["draws"], batch_size=ask["batch_size"])
        found.append((int(predict[0]), float(radius[0]), perf_counter() - start))
    return found


def forward(ask: dict[str, Any], model: nn.Module, part: data.Dataset) -> float:
    from gambeson.allocator import keep_freed_memory
    from gambeson.inference import Form, serve

    keep_freed_memory()
    form = Form(**ask["form"])
    torch.set_num_threads(form.threads)
    served, images = serve(model, form), form.zeros(tuple(part.images.shape[1:]))
    images.copy_(torch.rand(images.shape))

    def rate(calls: int) -> float:
        start = perf_counter()
        for _ in range(calls):
            logits = served(images)
        logits.cpu()  # waits for a GPU
        return calls * form.batch / (perf_counter() - start)

    rate(3)  # warm up
    calls = ceil(ask["seconds"] * rate(3) / form.batch)
    return float(np.median([rate(calls) for _ in range(5)]))


def main() -> None:
    ask = json.loads(sys.argv[1])
    torch.set_num_threads(ask["threads"])
    model = models.load(ask["model"]).to(ask["device"]).eval()
    part = data.load(ask["data"], "test").every(ask["every"], None).subset(slice(*ask["rows"]))
    if ask["side"] == "forward":
        print(json.dumps({"rate": forward(ask, model, part)}))
        return
    found = {"published": published, "art": art}[ask["side"]](ask, model, part)
    names = ("index", "predict", "radius", "seconds")
    rows = zip(part.indices.tolist(), found, strict=True)
    print(json.dumps({"images": [dict(zip(names, (index, *row), strict=True)) for index, row in rows]}))


if __name__ == "__main__":
    main()
