"""Small made-up files, and the real ones where GAMBESON_DATA has them."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gambeson.data import Dataset


@pytest.fixture(autouse=True)
def _lonely(request, monkeypatch, tmp_path):
    """No test finds data that it did not make, unless it asks for the real data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if "real" not in request.fixturenames:
        monkeypatch.delenv("GAMBESON_DATA", raising=False)


@pytest.fixture
def real():
    """A function that gives the folder of the real data set, or skips."""

    def folder(name: str) -> Path:
        root = os.environ.get("GAMBESON_DATA")
        if not root:
            pytest.skip("GAMBESON_DATA is not set: no real data")
        if not (Path(root) / name).is_dir():
            pytest.skip(f"GAMBESON_DATA has no folder {name}")
        return Path(root)

    return folder


@pytest.fixture
def png():
    """A function from uint8 (H, W) or (H, W, 3) to PNG bytes."""

    def encode(pixels: np.ndarray, mode: str | None = None) -> bytes:
        file = BytesIO()
        image = Image.fromarray(pixels)
        (image.convert(mode) if mode else image).save(file, "png")
        return file.getvalue()

    return encode


@pytest.fixture
def toy():
    """A function that makes a small Dataset, its images from a seed."""

    def make(count: int = 12, seed: int = 0, split: str = "train", levels: int | None = 255) -> Dataset:
        draw = torch.Generator().manual_seed(seed)
        images = torch.randint(0, 256, (count, 3, 4, 5), generator=draw, dtype=torch.uint8)
        images = images.float() / 255 if levels is None else images
        labels = torch.randint(0, 3, (count,), generator=draw)
        return Dataset("toy", split, images, labels, levels, ("a", "b", "c"), torch.arange(count))

    return make
