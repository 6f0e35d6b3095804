"""Bring your own model: what is imported, what is loaded, what is refused."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from gambeson.errors import UserError
from gambeson.models import fingerprint, from_factory, save
from gambeson.models.layers import Normalize

SOURCE = """
import torch
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(12, 3))

def needs(width):
    return nn.Linear(width, 2)

def number():
    return 3

def fails():
    raise KeyError("width")

def lazily():
    import late_part
    return late_part.make()

class Holder:
    make = staticmethod(make)

ready = nn.Linear(2, 2)
"""
MEAN, STD = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "byo_model.py").write_text(SOURCE)
    (tmp_path / "late_part.py").write_text("from byo_model import make\n")
    (tmp_path / "byo_broken.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("byo_model", "late_part", "byo_broken"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("spec", ["byo_model:make", "byo_model:Holder.make", "byo_model:lazily", "byo_model:ready"])
def test_a_module_beside_the_user(spec: str) -> None:
    path = list(sys.path)
    model = from_factory(spec)
    assert not any(module.training for module in model.modules())
    assert sys.path == path


def test_weights_and_normalisation(here: Path) -> None:
    trained = from_factory("byo_model:make")
    torch.save({"state_dict": {"module." + k: v for k, v in trained.state_dict().items()}}, here / "w.pt")
    model = from_factory("byo_model:make", here / "w.pt", mean=MEAN, std=STD)
    x = torch.rand(4, 3, 2, 2)
    assert torch.equal(model(x), trained(Normalize(MEAN, STD)(x)))

    save(model, here / "ours.safetensors")  # carries its normalisation: with or without the arguments, the same model
    for given in ({}, {"mean": MEAN, "std": STD}):
        again = from_factory("byo_model:make", here / "ours.safetensors", **given)
        assert fingerprint(again) == fingerprint(model)
    with pytest.raises(UserError, match="carries its own normalisation"):
        from_factory("byo_model:make", here / "ours.safetensors", mean=STD, std=MEAN)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("byo_model", "package.module:factory"),
        ("byo_model:", "package.module:factory"),
        ("byo_absent:make", "no module named 'byo_absent'"),
        ("byo_broken:make", "no module named 'a_package_that_is_not_there'"),
        ("byo_model:mkae", "did you mean make"),
        ("byo_model:needs", "works without arguments"),
        ("byo_model:number", "gave an object of type int"),
        ("byo_model:fails", "KeyError: 'width'"),
    ],
)
def test_refusals(spec: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        from_factory(spec)


@pytest.mark.usefixtures("here")
def test_half_a_normalisation_and_a_second_one() -> None:
    with pytest.raises(UserError, match="std is missing"):
        from_factory("byo_model:make", mean=MEAN)
    with pytest.raises(UserError, match="mean has 3 values and std 2"):
        from_factory("byo_model:make", mean=MEAN, std=STD[:2])
    sys.modules["byo_model"].made = nn.Sequential(Normalize(MEAN, STD))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="already"):
        from_factory("byo_model:made", mean=MEAN, std=STD)
