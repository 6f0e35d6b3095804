"""The registry and the dispatcher."""

import subprocess
import sys
from pathlib import Path

import pytest

from gambeson import data
from gambeson.data import SOURCES, load, names
from gambeson.errors import UserError

# what the sources share: every other file of the folder is a source
SHARED = {
    "__init__",
    "augment",
    "dataset",
    "decode",
    "fetch",
    "labels",
    "locate",
    "pairs",
    "pickled",
    "remotes",
    "split",
}


def test_the_registry_is_the_folder():
    files = {path.stem for path in Path(data.__file__).parent.glob("*.py")}
    sources = {function.__name__ for function in SOURCES.values()}
    assert files - SHARED == sources
    assert sources < set(data.__all__)
    assert all(function.__module__ == f"gambeson.data.{function.__name__}" for function in SOURCES.values())


def test_every_public_name_exists():
    assert all(hasattr(data, name) for name in data.__all__)
    assert sorted(data.__all__) == sorted(set(data.__all__))


def test_names():
    assert names() == ["digits", "mnist", "fashion-mnist", "cifar10", "folder:PATH", "npz:PATH", "hub:ID"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("minst", "mnist"),
        ("digit", "digits"),
        ("fashion_mnist", "fashion-mnist"),
        ("CIFAR10", "cifar10"),
        ("cifar-10", "cifar10"),
        ("folders:x", "folder:PATH"),
        ("npz", "npz:PATH"),
        ("npz:", "npz:PATH"),
        ("mnist:x", "mnist"),
    ],
)
def test_a_typo_gets_the_nearest_name(name, nearest):
    with pytest.raises(UserError, match=f"did you mean {nearest}\\? Known: digits, mnist,"):
        load(name, "test")


def test_a_name_near_nothing_gets_the_list():
    with pytest.raises(UserError, match=r"data set 'zzz' is not known; Known: digits"):
        load("zzz", "test")


@pytest.mark.parametrize("split", ["valid", "", "Test"])
def test_unknown_split(split):
    with pytest.raises(UserError, match="must be one of train, validation, test"):
        load("digits", split)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_data_that_is_not_there(name, split, tmp_path):
    with pytest.raises(UserError, match=f"gambeson data fetch {name}"):
        load(name, split, data_dir=tmp_path)


def test_the_import_is_light():
    heavy = "('torchvision', 'sklearn', 'datasets', 'pyarrow', 'PIL')"
    code = f"import sys, gambeson.data; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
