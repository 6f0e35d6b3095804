"""Arrays in one file: keys, layouts, types, and every array that is wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gambeson.data import load
from gambeson.errors import UserError


@pytest.fixture
def save(tmp_path):
    def write(**arrays) -> Path:
        np.savez(tmp_path / "set.npz", **arrays)
        return tmp_path / "set.npz"

    return write


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def refused(path: Path, split: str = "test") -> str:
    with pytest.raises(UserError) as caught:
        load(f"npz:{path}", split)
    assert str(path) in str(caught.value)
    return str(caught.value)


Y = np.array([0, 2, 1, 0])


@pytest.mark.parametrize(("x", "y"), [("x", "y"), ("images", "labels"), ("x_test", "y_test")])
def test_names_of_a_test_set(save, x, y):
    path = save(**{x: random(4, 5, 6), y: Y})
    data = load(f"npz:{path}", "test")
    assert data.images.shape == (4, 1, 5, 6)
    assert data.labels.tolist() == Y.tolist()
    assert data.classes == ("0", "1", "2")
    assert data.levels == 255
    assert "needs the arrays x_train, y_train" in refused(path, "train")


def test_train_and_test_in_one_file(save):
    path = save(x_train=random(4, 5, 6), y_train=Y, x_test=random(2, 5, 6), y_test=np.array([[0], [1]]))
    assert len(load(f"npz:{path}", "train")) == 4
    test = load(f"npz:{path}", "test")
    assert test.labels.tolist() == [0, 1]
    assert len(test.classes) == 3  # the largest label is in the training part


@pytest.mark.parametrize("channels", [1, 3])
def test_both_layouts_give_the_same(save, channels):
    images = random(4, channels, 5, 6)
    first = load(f"npz:{save(x=images, y=Y)}", "test")
    second = load(f"npz:{save(x=images.transpose(0, 2, 3, 1), y=Y)}", "test")
    assert np.array_equal(first.images.numpy(), images)
    assert torch.equal(first.images, second.images)


@pytest.mark.parametrize("shape", [(4, 3, 5, 3), (4, 1, 5, 3), (4, 2, 5, 6), (4, 5), (4, 3, 5, 6, 1), (4, 4, 5, 6)])
def test_other_shapes_are_refused(save, shape):
    assert f"shape {shape}" in refused(save(x=random(*shape), y=Y))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_are_not_on_a_lattice(save, kind):
    images = (random(4, 5, 6) / 255).astype(kind)
    data = load(f"npz:{save(x=images, y=Y)}", "test")
    assert data.levels is None
    assert np.array_equal(data.pixels()[:, 0].numpy(), images.astype(np.float32))


@pytest.mark.parametrize("value", [np.nan, -0.001, 1.001, 255.0, np.inf])
def test_a_value_outside_the_box_names_the_row(save, value):
    images = random(4, 5, 6) / 255
    images[2, 3, 1] = value
    message = refused(save(x=images, y=Y))
    assert ("array x, row 2: values" if np.isfinite(value) else "array x, row 2: a value is NaN or infinite") in message
    assert "[0, 1]" in message


@pytest.mark.parametrize("kind", [np.int64, np.uint16, bool, complex, "U1"])
def test_other_types_are_refused(save, kind):
    assert "images must be uint8 0..255, or float" in refused(save(x=np.zeros((4, 5, 6), kind), y=Y))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, -1, 1, 0]), "array y, row 1: label -1 is outside 0..1"),
        (np.array([0.0, 1, 1, 0]), "must be integers"),
        (np.array(["a", "b", "a", "a"]), "must be integers"),
        (np.array([0, 1, 1]), r"x is (4, 5, 6) but y is (3,)"),
        (np.eye(4, dtype=int), "y is (4, 4)"),
    ],
)
def test_labels_that_do_not_fit(save, labels, message):
    assert message in refused(save(x=random(4, 5, 6), y=labels))


def test_named_classes_bound_the_labels(save):
    images = random(4, 5, 6)
    data = load(f"npz:{save(x=images, y=Y, classes=np.array(['cat', 'dog', 'cow', 'hen']))}", "test")
    assert data.classes == ("cat", "dog", "cow", "hen")
    message = refused(save(x=images, y=Y, classes=np.array(["cat", "dog"])))
    assert "array y, row 1: label 2 is outside 0..1" in message


def test_missing_arrays_are_listed(save):
    assert "it has x, z" in refused(save(x=random(4, 5, 6), z=Y))
    assert "needs the arrays" in refused(save(x_train=random(4, 5, 6), y_train=Y))
    assert "empty" in refused(save(x=random(0, 5, 6), y=np.zeros(0, int)))


def test_pickled_arrays_are_refused(save):
    message = refused(save(x=np.array([{"a": 1}, None, 2, 3], dtype=object), y=Y))
    assert "not a readable .npz file of plain arrays" in message


def test_damaged_files(save):
    path = save(x=random(4, 5, 6), y=Y)
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[200] ^= 255  # inside an array: the archive's checksum notices
    for wrong in (b"", b"garbage", content[:100], content[:-30], bytes(damaged), b"\x93NUMPY", b"\x80\x02K\x01."):
        path.write_bytes(wrong)
        assert "not a readable .npz" in refused(path)


def test_a_single_array_is_not_enough(tmp_path):
    np.save(tmp_path / "set.npy", random(4, 5, 6))
    assert "not a readable .npz" in refused(tmp_path / "set.npy")


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"no such path; looked for: missing\.npz, "):
        load("npz:missing.npz", "test", data_dir=tmp_path)
