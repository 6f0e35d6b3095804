"""An image folder: classes, order, splits, and the file that is wrong."""

from pathlib import Path

import numpy as np
import pytest

from gambeson.data import load
from gambeson.errors import UserError


@pytest.fixture
def tree(tmp_path, png):
    """A function that writes grey 3x2 pictures of the given values at the given paths."""

    def build(pictures: dict[str, int]) -> Path:
        for path, value in pictures.items():
            file = tmp_path / "set" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(np.full((2, 3), value, np.uint8)))
        return tmp_path / "set"

    return build


SPLIT = {"train/dog/b.png": 1, "train/dog/a.png": 2, "train/cat/z.png": 3, "test/dog/c.png": 4}


def refused(root: Path, split: str = "train") -> str:
    with pytest.raises(UserError) as caught:
        load(f"folder:{root}", split)
    return str(caught.value)


def test_order_is_class_then_file_name(tree):
    data = load(f"folder:{tree(SPLIT)}", "train")
    assert data.classes == ("cat", "dog")
    assert data.images[:, 0, 0, 0].tolist() == [3, 2, 1]
    assert data.labels.tolist() == [0, 1, 1]
    assert data.images.shape == (3, 1, 2, 3)
    assert data.levels == 255


def test_test_uses_the_classes_of_train(tree):
    data = load(f"folder:{tree(SPLIT)}", "test")
    assert data.labels.tolist() == [1]
    assert data.classes == ("cat", "dog")


def test_colour_and_hidden_files(tree, png):
    root = tree({})
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    (root / "a").mkdir(parents=True)
    (root / "a" / "1.png").write_bytes(png(pixels))
    (root / "a" / ".DS_Store").write_bytes(b"x")
    (root / ".git").mkdir()
    data = load(f"folder:{root}", "test")
    assert np.array_equal(data.images[0].numpy(), pixels.transpose(2, 0, 1))


def test_an_undivided_folder_is_a_test_set_only(tree):
    root = tree({"dog/a.png": 1, "cat/a.png": 2})
    assert len(load(f"folder:{root}", "test")) == 2
    assert "no train split" in refused(root)


def test_a_relative_path_is_looked_for_in_the_data_folders(tree, tmp_path, monkeypatch):
    tree(SPLIT)
    assert len(load("folder:set", "train", data_dir=tmp_path)) == 3
    monkeypatch.setenv("GAMBESON_DATA", str(tmp_path))
    assert len(load("folder:set", "train")) == 3
    assert str(tmp_path / "none") in refused("none")


def test_a_split_that_is_not_there(tree):
    assert "there is no test split; it has only train/" in refused(tree({"train/dog/a.png": 1}), "test")


def test_a_class_of_test_that_train_lacks(tree):
    root = tree({**SPLIT, "test/cow/a.png": 1})
    assert f"{root / 'test' / 'cow'}: not the folder of a class" in refused(root, "test")


def test_a_file_among_the_classes(tree):
    root = tree({**SPLIT, "train/stray.png": 1})
    assert str(root / "train" / "stray.png") in refused(root)


def test_a_file_that_is_no_picture_is_named(tree):
    root = tree(SPLIT)
    (root / "train" / "dog" / "notes.txt").write_text("no picture")
    assert f"{root / 'train' / 'dog' / 'notes.txt'}: the picture cannot be read" in refused(root)


def test_a_truncated_picture_is_named(tree):
    root = tree(SPLIT)
    file = root / "train" / "dog" / "b.png"
    file.write_bytes(file.read_bytes()[:45])
    assert f"{file}: the picture cannot be read" in refused(root)


def test_a_folder_among_the_pictures_is_named(tree):
    root = tree({**SPLIT, "train/dog/deeper/a.png": 1})
    assert f"{root / 'train' / 'dog' / 'deeper'}: cannot be read" in refused(root)


def test_another_size_or_mode_is_named_with_the_first(tree, png):
    root = tree(SPLIT)
    file = root / "train" / "dog" / "c.png"
    file.write_bytes(png(np.zeros((3, 3), np.uint8)))
    message = refused(root)
    assert f"{file}: the picture is 3x3 L but 3x2 L in {root / 'train' / 'cat' / 'z.png'}" in message
    file.write_bytes(png(np.zeros((2, 3, 3), np.uint8)))
    assert f"{file}: the picture is 3x2 RGB but 3x2 L" in refused(root)


def test_empty_folders(tree, tmp_path):
    (tmp_path / "set" / "train" / "dog").mkdir(parents=True)
    assert "holds no pictures" in refused(tmp_path / "set")
    (tmp_path / "empty").mkdir()
    assert "the sub-folders of" in refused(tmp_path / "empty", "test")
