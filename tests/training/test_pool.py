"""Any iterable of (x, y) becomes two tensors; a Dataset keeps its integers."""

import pytest
import torch

from gambeson.data import load
from gambeson.errors import UserError
from gambeson.training.pool import batch, pool


def test_single_images_and_batches_are_the_same_data() -> None:
    x, y = torch.rand(6, 1, 4, 4), torch.arange(6)
    single, batched = pool(zip(x, y, strict=True)), pool([(x[:4], y[:4]), (x[4:], y[4:])])
    assert torch.equal(single.images, x)
    assert torch.equal(batched.labels, y)
    assert single.fingerprint == batched.fingerprint != pool([(x, y.flip(0))]).fingerprint


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


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((torch.rand(1, 2, 2) * 255, 0), "divide by 255"),
        ((torch.full((1, 2, 2), float("nan")), 0), "image 0 holds NaN"),
        ((torch.rand(4), 0), "give float images"),
        ((torch.randint(0, 255, (1, 2, 2)), 0), "give float images"),
        ((torch.rand(2, 1, 2, 2), torch.tensor([0])), "give float images"),
        ((torch.rand(1, 2, 2), 0.5), "integer labels"),
        (torch.rand(3, 2, 2), "not a pair"),
    ],
)
def test_what_is_not_an_image_and_a_label_is_refused(item: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pool([item])


def test_no_data_is_refused() -> None:
    with pytest.raises(UserError, match="empty"):
        pool([])
