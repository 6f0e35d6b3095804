"""Any iterable of (x, y) is a Dataset; what is no pair of an image and a class is refused with its remedy."""

import numpy as np
import pytest
import torch

from gambeson.data import examples, load
from gambeson.errors import UserError

IMAGE = torch.rand(1, 2, 2)


def test_single_images_batches_loaders_and_arrays_are_the_same_examples() -> None:
    x, y = torch.rand(6, 1, 4, 4), torch.arange(6)
    pairs = list(zip(x, y, strict=True))
    single = examples(pairs)
    assert torch.equal(single.images, x)
    assert torch.equal(single.labels, y)
    assert single.indices.tolist() == list(range(6))
    for other in (
        [(x[:4], y[:4]), (x[4:], y[4:])],
        torch.utils.data.DataLoader(pairs, batch_size=4),
        ((a.numpy(), np.int64(b)) for a, b in pairs),
        ((a.double().requires_grad_(), int(b)) for a, b in pairs),
    ):
        assert examples(other).fingerprint == single.fingerprint
    assert examples([(x, y.flip(0))]).fingerprint != single.fingerprint


def test_a_dataset_is_taken_as_it_is() -> None:
    data = load("digits", "test")
    assert examples(data) is data


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([(IMAGE * 255 + 2, 0)], "divide by 255"),
        ([((IMAGE - 0.5) / 0.1, 0), (IMAGE - 1, 1)], r"reach from -.* first layer normalise"),
        ([(IMAGE, 0), (torch.full((1, 2, 2), float("nan")), 0)], "image 1 holds NaN"),
        ([((IMAGE * 255).to(torch.uint8), 0)], r"x\.float\(\) / 255"),
        ([(torch.rand(4), 0)], "give float images"),
        ([(torch.rand(2, 1, 2, 2), torch.tensor([0]))], "give float images"),
        ([(torch.stack([IMAGE, IMAGE]), torch.tensor([0]))], r"item 0 .* \(N,\)"),
        ([(IMAGE, torch.tensor([0, 1, 0]))], "not one-hot rows"),
        ([(IMAGE, 0.7)], "integer classes"),
        ([(IMAGE, 0), (IMAGE, -1)], "row 1 .*label is outside"),
        ([(IMAGE, 0), torch.rand(3, 2, 2)], "item 1 of the data is not a pair"),
        ([(IMAGE, 0, 1)], "item 0 of the data is not a pair"),
        ("digits", "item 0 of the data is not a pair"),
        ([(IMAGE, 0)] * 3 + [(torch.zeros(1, 5, 5), 0)], "item 3 .* one shape"),
        ([], "holds no example"),
        (iter(()), "holds no example"),
    ],
)
def test_what_is_no_image_with_a_class_is_refused(items: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        examples(items)  # type: ignore[arg-type]
