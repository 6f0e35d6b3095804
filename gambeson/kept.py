"""Adversarial images that a run keeps, a file per attack: x and x_adv (N, C, H, W) in [0, 1], indices (N,)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from gambeson.errors import UserError
from gambeson.jsonl import replace

NAMES = ("x", "x_adv", "indices")


def path_of(run: Path, evaluation: str) -> Path:
    return run / "adversarial" / f"{evaluation}.safetensors"


def read(path: Path) -> dict[str, np.ndarray]:
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is damaged ({error}); delete it: images that are attacked from now on are kept again"
        ) from None
    for name in NAMES:
        if name not in found:
            raise UserError(f"{path} lacks the tensor {name!r}; delete the file: the next attack keeps its images")
    return found


def write(path: Path, images: Mapping[str, np.ndarray]) -> None:
    """Whole or not at all."""
    replace(path, save(dict(images)))
