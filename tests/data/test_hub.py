"""The hub: the real library on local folders where it is installed, a stand-in with the same interface everywhere."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from gambeson.data import load
from gambeson.errors import UserError

PIXELS = [np.random.default_rng(row).integers(0, 256, (4, 5, 3)).astype(np.uint8) for row in range(4)]
TARGETS = [1, 0, 2, 1]


class Image:
    def __init__(self, decode: bool = True):
        self.decode = decode


class ClassLabel:
    names = ("cat", "cow", "dog")


class Value:
    pass


class Rows:
    """As much of datasets.Dataset as is used."""

    def __init__(self, features: dict, columns: dict):
        self.features, self.columns = features, columns

    def __getitem__(self, column: str) -> list:
        return self.columns[column]

    def cast_column(self, column: str, feature: Image) -> "Rows":
        assert feature.decode is False
        return Rows(self.features | {column: feature}, self.columns)


@pytest.fixture
def stand_in(monkeypatch, png):
    """Puts a module `datasets` in place; returns its one data set's features and columns, to be changed."""
    pictures = [{"bytes": png(pixels), "path": None} for pixels in PIXELS]
    rows = Rows({"image": Image(), "label": ClassLabel()}, {"image": pictures, "label": list(TARGETS)})
    module = ModuleType("datasets")

    def load_dataset(ident: str) -> dict[str, Rows]:
        if ident != "someone/animals":
            raise ConnectionError("cannot reach the hub")
        return {"train": rows, "test": rows}

    module.Image, module.load_dataset = Image, load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return SimpleNamespace(features=rows.features, columns=rows.columns, pictures=pictures)


def refused(name: str = "hub:someone/animals", split: str = "test") -> str:
    with pytest.raises(UserError) as caught:
        load(name, split)
    assert name in str(caught.value)
    return str(caught.value)


def test_rows_of_the_stand_in(stand_in, tmp_path):
    file = tmp_path / "0.png"  # a picture may be a path instead of bytes
    file.write_bytes(stand_in.pictures[0]["bytes"])
    stand_in.pictures[0] = {"bytes": None, "path": str(file)}
    stand_in.columns["image"][0] = stand_in.pictures[0]
    data = load("hub:someone/animals", "test")
    assert np.array_equal(data.images.numpy(), np.stack(PIXELS).transpose(0, 3, 1, 2))
    assert data.labels.tolist() == TARGETS
    assert data.classes == ("cat", "cow", "dog")
    assert data.levels == 255


def test_no_network(stand_in):
    assert "cannot be loaded (ConnectionError: cannot reach the hub)" in refused("hub:other")


def test_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'gambeson[hub]'" in refused()


def test_columns_that_do_not_fit(stand_in):
    for features in (
        {"label": ClassLabel()},
        {"image": Image(), "other": Image(), "label": ClassLabel()},
        {"image": Image(), "label": Value()},
        {"image": Image(), "coarse": ClassLabel(), "fine": ClassLabel()},
    ):
        stand_in.features.clear()
        stand_in.features.update(features)
        message = refused()
        assert "needs one Image column and one ClassLabel column" in message
        assert all(column in message for column in features)


def test_rows_that_do_not_fit_are_named(stand_in, png):
    whole = list(stand_in.pictures)
    where = "hub:someone/animals, test, row 2: "
    for picture, message in (
        (None, "there is no picture"),
        ({"bytes": None, "path": None}, "the picture cannot be read"),
        ({"bytes": b"no picture", "path": None}, "the picture cannot be read"),
        ({"bytes": png(PIXELS[0][:3]), "path": None}, "the picture is 5x3 RGB but 5x4 RGB"),
    ):
        stand_in.columns["image"] = [*whole[:2], picture, whole[3]]
        assert where + message in refused()
    stand_in.columns["image"] = whole
    stand_in.columns["label"] = [0, 1, None, 2]
    assert "row 2: column label is empty" in refused()
    stand_in.columns["label"] = [0, 1, -1, 2]  # how the hub hides the labels of a competition
    assert "column label, row 2: label -1 is outside 0..2" in refused()


real_library = pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="the extra hub is not installed")


@pytest.fixture
def pictures_folder(tmp_path, png, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for split in ("train", "test"):
        for row, (pixels, label) in enumerate(zip(PIXELS, TARGETS, strict=True)):
            file = tmp_path / "pictures" / split / ClassLabel.names[label] / f"{row}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(pixels))
    return tmp_path / "pictures"


@real_library
def test_pictures_read_by_the_library_equal_our_own_reader(pictures_folder):
    ours, theirs = (load(f"{kind}:{pictures_folder}", "test") for kind in ("folder", "hub"))
    assert sorted(ours.hashes()) == sorted(theirs.hashes())
    assert ours.classes == theirs.classes


@real_library
def test_saved_to_disk(pictures_folder, tmp_path):
    import datasets

    datasets.load_dataset(str(pictures_folder)).save_to_disk(str(tmp_path / "saved"))
    first, second = (load(f"hub:{path}", "train") for path in (pictures_folder, tmp_path / "saved"))
    assert first.fingerprint == second.fingerprint


@real_library
def test_the_library_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "cannot be loaded" in refused("hub:nobody/nothing-of-this-name")
