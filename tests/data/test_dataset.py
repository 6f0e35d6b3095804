"""Dataset: pixels, stable indices, hashes, fingerprint, and what it refuses."""

import hashlib
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from gambeson.data import Dataset
from gambeson.errors import UserError


def test_pixels_are_images_over_levels(toy):
    data = toy()
    assert torch.equal(data.pixels(), data.images.float() / 255)
    assert torch.equal(data.pixels([3, 1]), data.images[[3, 1]].float() / 255)
    assert torch.equal(data.pixels(torch.arange(12) == 4), data.pixels([4]))
    assert torch.equal(data.pixels(slice(2, 4)), data.pixels([2, 3]))
    assert data.pixels([]).shape == (0, 3, 4, 5)


def test_every_8_bit_value_survives_the_way_to_float_and_back():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    data = Dataset("ramp", "test", images, torch.tensor([0]), 255, ("a",), torch.tensor([0]))
    assert torch.equal((data.pixels() * 255).round().to(torch.uint8), images)
    assert data.pixels().min() == 0
    assert data.pixels().max() == 1


def test_pixels_never_share_memory_with_the_data(toy):
    for levels in (255, None):
        data = toy(levels=levels)
        before = data.fingerprint
        data.pixels().fill_(0.5)
        data.pixels([0]).fill_(0.5)
        assert replace(data).fingerprint == before


def test_iteration_gives_pixels_and_an_int(toy):
    data = toy()
    pairs = list(data)
    assert len(pairs) == len(data) == 12
    assert all(torch.equal(x, data.pixels([row])[0]) and x.shape == (3, 4, 5) for row, (x, _) in enumerate(pairs))
    assert [y for _, y in pairs] == data.labels.tolist()
    assert all(type(y) is int for _, y in pairs)


def test_subset_keeps_stable_indices_in_the_order_asked_for(toy):
    part = toy().subset([7, 2, 9])
    assert part.indices.tolist() == [7, 2, 9]
    assert part.subset([2, 0]).indices.tolist() == [9, 7]
    assert torch.equal(part.images, toy().images[[7, 2, 9]])


def test_every_follows_the_stable_index_not_the_row(toy):
    data = toy()
    assert data.every(5).indices.tolist() == [0, 5, 10]
    assert data.every(5, limit=2).indices.tolist() == [0, 5]
    assert data.subset(range(3, 12)).every(5).indices.tolist() == [5, 10]
    for step, limit in ((0, None), (2, -1)):
        with pytest.raises(UserError, match="step must be >= 1"):
            data.every(step, limit)


def test_hashes_are_the_documented_sha256(toy):
    data = toy()
    head = f"torch.uint8 (3, 4, 5) levels=255 label={int(data.labels[2])}\n".encode()
    assert data.hashes()[2] == hashlib.sha256(head + data.images[2].numpy().tobytes()).hexdigest()[:16]


def test_hashes_belong_to_the_example_not_to_its_place(toy):
    data = toy()
    rows = [5, 0, 11]
    assert data.subset(rows).hashes() == [data.hashes()[row] for row in rows]
    assert replace(data, indices=data.indices + 100).hashes() == data.hashes()


@pytest.mark.parametrize("change", ["pixel", "label", "levels"])
def test_hash_changes_with_every_part_of_the_example(toy, change):
    data = toy()
    images, labels, levels = data.images.clone(), data.labels.clone(), 255
    if change == "pixel":
        images[2, 1, 3, 4] ^= 1
    elif change == "label":
        labels[2] = (labels[2] + 1) % 3
    else:
        images, levels = images.clamp(max=200), 200
        data = replace(data, images=images)
    other = replace(data, images=images, labels=labels, levels=levels)
    differ = [a != b for a, b in zip(data.hashes(), other.hashes(), strict=True)]
    assert differ == ([True] * 12 if change == "levels" else [row == 2 for row in range(12)])


def test_the_same_bytes_in_another_shape_have_another_hash():
    images = torch.arange(12, dtype=torch.uint8)
    pair = [
        Dataset("a", "test", images.reshape(shape), torch.tensor([0]), 255, ("a",), torch.tensor([0])).hashes()
        for shape in ((1, 1, 3, 4), (1, 1, 4, 3))
    ]
    assert pair[0] != pair[1]


def test_fingerprint_changes_with_one_pixel_label_index_or_class_but_not_with_the_path(toy):
    data = toy()
    images = data.images.clone()
    images[11, 2, 3, 4] ^= 1
    labels = data.labels.clone()
    labels[0] = (labels[0] + 1) % 3
    changed = [
        replace(data, images=images),
        replace(data, labels=labels),
        replace(data, indices=data.indices.flip(0)),
        replace(data, classes=("a", "b", "d")),
        replace(data, split="test"),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in changed)}) == 6
    assert replace(data, name="elsewhere").fingerprint == data.fingerprint == toy().fingerprint


def test_it_holds_and_does_not_change(toy):
    with pytest.raises(FrozenInstanceError):
        toy().name = "other"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(12, 4, 5, dtype=torch.uint8)}, r"must be torch.uint8 \(N, C, H, W\)"),
        ({"images": torch.zeros(12, 3, 4, 5)}, "must be torch.uint8"),
        ({"levels": None}, "must be torch.float32"),
        ({"levels": 256}, "levels is 256; it must be 1 to 255"),
        ({"labels": torch.zeros(11, dtype=torch.int64)}, r"labels are .*must be int64 \(12,\)"),
        ({"labels": torch.zeros(12, dtype=torch.int32)}, "labels are torch.int32"),
        ({"indices": torch.zeros(3, dtype=torch.int64)}, "indices are"),
        ({"labels": torch.tensor([0] * 7 + [3] + [0] * 4)}, r"row 7 \(label 3.*outside 0..2"),
        ({"labels": torch.tensor([0] * 8 + [-1] + [0] * 3)}, r"row 8 \(label -1"),
    ],
)
def test_refuses_what_does_not_fit(toy, change, message):
    with pytest.raises(UserError, match=message):
        replace(toy(), **change)


@pytest.mark.parametrize("value", [float("nan"), -0.01, 1.01, float("inf")])
def test_refuses_float_images_outside_the_box_and_names_the_row(toy, value):
    data = toy(levels=None)
    images = data.images.clone()
    images[6, 0, 1, 2] = value
    with pytest.raises(UserError, match=r"row 6 .*outside 0..1"):
        replace(data, images=images)


def test_refuses_a_value_above_the_levels():
    images = torch.full((2, 1, 2, 2), 16, dtype=torch.uint8)
    images[1, 0, 1, 1] = 17
    with pytest.raises(UserError, match=r"row 1 .*outside 0..16"):
        Dataset("d", "test", images, torch.tensor([0, 0]), 16, ("a",), torch.arange(2))
