"""What a program may set for all of torch, and the sums of convolutions and matrix products depend on.

A served model computes under torch's own values, whatever the program around it has set: workers, services and whoever
verifies have not set the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

backends: Any = torch.backends

# Torch's own values. "none" is "ieee": nothing less exact is allowed, but TF32 in a GPU's convolutions, which is.
SWITCHES: tuple[tuple[Any, str, Any], ...] = (
    (backends.cuda.matmul, "fp32_precision", "ieee"),
    (backends.mkldnn.matmul, "fp32_precision", "ieee"),
    (backends.mkldnn.conv, "fp32_precision", "ieee"),
    (backends.mkldnn.rnn, "fp32_precision", "ieee"),
    (backends.cudnn.conv, "fp32_precision", "tf32"),
    (backends.cudnn.rnn, "fp32_precision", "tf32"),
    (backends.cudnn, "benchmark", False),  # algorithms chosen by timing
    (backends.cudnn, "deterministic", False),
    (backends.cudnn, "enabled", True),
    (backends.mkldnn, "enabled", True),
    (backends.cuda.matmul, "allow_bf16_reduced_precision_reduction", True),
)


@contextmanager
def as_torch_has_them(device: str) -> Iterator[None]:
    """No autocast, and every switch at torch's own value; what was set before is set again."""
    changed = [row for row in ((*switch, getattr(*switch[:2])) for switch in SWITCHES) if _other(*row[2:])]
    if not changed and not torch.is_autocast_enabled(device):
        yield
        return
    for place, name, own, _ in changed:
        setattr(place, name, own)
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        for place, name, _, before in changed:
            setattr(place, name, before)


def _other(own: Any, found: Any) -> bool:
    return bool(found != own) and (own, found) != ("ieee", "none")
