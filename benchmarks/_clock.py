"""How long a side of a comparison takes."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch


def seconds(side: Callable[[], Any]) -> tuple[float, Any]:
    """Of one call, until the device has done it; and what it returns."""
    synchronise = torch.cuda.synchronize if torch.cuda.is_available() else (lambda: None)
    synchronise()
    start = perf_counter()
    found = side()
    synchronise()
    return perf_counter() - start, found
