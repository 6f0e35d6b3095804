"""idx files: round trip, the real MNIST, and every way in which a file can be wrong."""

import gzip
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gambeson.data import load
from gambeson.errors import UserError

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def encode(array: np.ndarray) -> bytes:
    """The publisher's format, written from its description."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write(folder: Path, images: bytes | None = None, labels: bytes | None = None, packed: bool = True) -> Path:
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    images = encode(draw.integers(0, 256, (5, 4, 3))) if images is None else images
    labels = encode(np.array([3, 1, 4, 1, 5])) if labels is None else labels
    for name, content in ((IMAGES, images), (LABELS, labels)):
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content, 1) if packed else content)
    return folder


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 6),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    seed=st.integers(0, 999),
    packed=st.booleans(),
)
def test_round_trip(count, height, width, seed, packed):
    draw = np.random.default_rng(seed)
    images, labels = draw.integers(0, 256, (count, height, width)), draw.integers(0, 10, count)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), encode(images), encode(labels), packed)
        data = load("mnist", "test", data_dir=folder)
    assert np.array_equal(data.images[:, 0].numpy(), images)
    assert data.labels.tolist() == labels.tolist()
    assert data.indices.tolist() == list(range(count))
    assert data.images.dtype == torch.uint8


def test_its_own_folder_comes_before_the_folder_itself(tmp_path):
    write(tmp_path, labels=encode(np.zeros(5)))
    write(tmp_path / "mnist", labels=encode(np.ones(5)))
    assert load("mnist", "test", data_dir=tmp_path).labels.tolist() == [1] * 5
    assert load("fashion-mnist", "test", data_dir=tmp_path).labels.tolist() == [0] * 5


def refused(folder: Path, name: str = "mnist") -> str:
    with pytest.raises(UserError) as caught:
        load(name, "test", data_dir=folder)
    return str(caught.value)


def test_truncated_file_says_how_many_rows_it_has(tmp_path):
    message = refused(write(tmp_path, images=encode(np.zeros((5, 4, 3)))[: 16 + 3 * 12 + 5], packed=False))
    assert IMAGES in message
    assert "truncated: the header says 5 rows of 12 bytes, found 3 rows (41 bytes)" in message


def test_truncated_gzip_says_how_many_rows_it_has(tmp_path):
    folder = write(tmp_path, images=encode(np.random.default_rng(0).integers(0, 256, (500, 4, 3))))
    file = folder / f"{IMAGES}.gz"
    file.write_bytes(file.read_bytes()[:3000])
    message = refused(folder)
    assert f"{IMAGES}.gz: truncated: the header says 500 rows" in message
    assert 0 < int(message.split("found ")[1].split()[0]) < 500


def test_gzip_cut_in_its_checksum_is_truncated(tmp_path):
    folder = write(tmp_path)
    file = folder / f"{IMAGES}.gz"
    file.write_bytes(file.read_bytes()[:-4])
    assert "truncated" in refused(folder)


def test_damaged_gzip(tmp_path):
    folder = write(tmp_path)
    file = folder / f"{IMAGES}.gz"
    content = bytearray(file.read_bytes())
    content[-6] ^= 255  # in the checksum
    file.write_bytes(bytes(content))
    assert f"{IMAGES}.gz: cannot be read" in refused(folder)
    file.write_bytes(b"<html>moved</html>")
    with pytest.raises(UserError, match="cannot be read") as caught:
        load("mnist", "test", data_dir=folder)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", b"\0\0\x0d\x03" + bytes(12), b"\0\0\x08\x01" + bytes(12)])
def test_wrong_magic_or_header(tmp_path, content):
    message = refused(write(tmp_path, images=content))
    assert "00 00 08 03" in message
    assert IMAGES in message


def test_images_where_labels_should_be(tmp_path):
    assert "00 00 08 01" in refused(write(tmp_path, labels=encode(np.zeros((5, 4, 3)))))


def test_too_long(tmp_path):
    assert "too long: the header says 5 rows" in refused(write(tmp_path, labels=encode(np.zeros(5)) + b"\0"))


def test_label_outside_the_classes_names_file_and_row(tmp_path):
    message = refused(write(tmp_path, labels=encode(np.array([0, 9, 10, 1, 11]))))
    assert f"{LABELS}.gz, row 2: label 10 is outside 0..9" in message


def test_counts_must_agree(tmp_path):
    message = refused(write(tmp_path, labels=encode(np.zeros(4))))
    assert "has 5 images" in message
    assert "has 4 labels" in message


def test_missing_file_lists_the_folders_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("GAMBESON_DATA", str(tmp_path / "elsewhere"))
    message = refused(tmp_path)
    for part in (tmp_path / "mnist", tmp_path / "elsewhere" / "mnist", tmp_path / "cache" / "gambeson" / "mnist"):
        assert str(part) in message
    assert "`gambeson data fetch mnist`" in message
    assert "no such folder" in message
    assert f"{IMAGES}.gz" in message


def test_real_mnist_test(real):
    data = load("mnist", "test", data_dir=real("mnist"))
    assert data.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.images.shape == (10_000, 1, 28, 28)
    assert len(set(data.hashes())) == 10_000
    assert [len(data.every(20)), len(data.every(20, 100))] == [500, 100]


def test_real_mnist_train_statistics(real):
    # mean and standard deviation that the field uses for MNIST: 0.1307, 0.3081
    data = load("mnist", "train", data_dir=real("mnist"))
    assert len(data) == 60_000
    pixels = data.images.double() / 255
    assert round(float(pixels.mean()), 4) == 0.1307
    assert round(float(pixels.std()), 4) == 0.3081


def test_mnist_in_the_place_of_fashion_mnist_is_refused(real):
    message = refused(real("mnist") / "mnist", "fashion-mnist")
    assert "belongs to mnist, not to fashion-mnist" in message


def test_real_fashion_mnist(real):
    data = load("fashion-mnist", "test", data_dir=real("fashion-mnist"))
    assert data.labels.bincount().tolist() == [1000] * 10
    assert [data.classes[label] for label in data.labels[:4]] == ["ankle boot", "pullover", "trouser", "trouser"]
