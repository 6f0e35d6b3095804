"""How fast a served model answers, without noise."""

from time import perf_counter

import torch
from torch import Tensor

from gambeson.inference.form import Form
from gambeson.inference.served import Served

SECONDS = 0.25  # of calls, after a first one


def images_per_second(served: Served, images: Tensor) -> float:
    """By the quickest call, since nothing but the machine's other work makes one slower. `images`: any, of the shape
    that the model takes.
    """
    form = served.form
    call = form.zeros(tuple(images.shape[1:]))
    call.copy_(images[torch.arange(form.batch) % len(images)])
    times: list[float] = []
    with form.pinned():
        served(call)
        _wait(form)
        while len(times) < 3 or sum(times) < SECONDS:
            start = perf_counter()
            served(call)
            _wait(form)
            times.append(perf_counter() - start)
            if times[-1] > 1:
                break
    return form.batch / min(times)


def _wait(form: Form) -> None:
    if torch.device(form.device).type == "cuda":
        torch.cuda.synchronize(form.device)
