"""Any iterable of (x, y) becomes two tensors; a Dataset keeps its integers."""

import torch

from gambeson.data import load
from gambeson.training.pool import batch, pool


def test_a_dataset_stays_in_integers_and_its_batches_are_its_pixels() -> None:
    data = load("digits", "test")
    kept = pool(data)
    rows = torch.tensor([3, 0, 7])
    x, y = batch(kept, rows, torch.device("cpu"), torch.float32, torch.contiguous_format)
    assert kept.images.dtype == torch.uint8
    assert torch.equal(x, data.pixels(rows))
    assert torch.equal(y, data.labels[rows])
    double, _ = batch(kept, rows, torch.device("cpu"), torch.float64, torch.channels_last)
    assert torch.equal(double, data.pixels(rows).double())
    assert double.is_contiguous(memory_format=torch.channels_last)
