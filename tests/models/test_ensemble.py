"""Several networks as one."""

from pathlib import Path

import pytest
import torch
from torch import nn

from gambeson import models
from gambeson.errors import UserError


def member(seed: int, **options: object) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return models.build("lenet", classes=10, shape=(1, 28, 28), **options).eval()


def test_logits_are_the_mean_and_survive_a_file(tmp_path: Path) -> None:
    parts = [member(0), member(1, activation="softplus", mean=[0.1], std=[0.3]), member(2)]
    x = torch.rand(3, 1, 28, 28)
    expected = torch.stack([part(x) for part in parts]).mean(0)
    whole = models.ensemble(parts)
    assert torch.allclose(whole(x), expected, atol=1e-6)
    models.save(whole, tmp_path / "three.safetensors")
    again = models.load(tmp_path / "three.safetensors")
    assert torch.equal(again(x), whole(x))
    assert [part.architecture.options for part in again.members] == [{}, {"activation": "softplus"}, {}]


def test_an_ensemble_of_ensembles(tmp_path: Path) -> None:
    whole = models.ensemble([models.ensemble([member(0), member(1)]), member(2)])
    models.save(whole, tmp_path / "all.safetensors")
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(models.load(tmp_path / "all.safetensors")(x), whole(x))


def test_members_must_fit() -> None:
    with pytest.raises(UserError, match="same classes and images"):
        models.ensemble([member(0), models.build("digits_cnn", classes=10, shape=(1, 8, 8))])
    with pytest.raises(UserError, match="was not built by Gambeson"):
        models.ensemble([member(0), nn.Flatten()])
    with pytest.raises(UserError, match="no members"):
        models.ensemble([])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gambeson.cli.prepare import ensemble

    for seed in (0, 1):
        models.save(member(seed), tmp_path / f"{seed}" / "model.safetensors")
    ensemble([str(tmp_path / "0"), str(tmp_path / "1" / "model.safetensors")], tmp_path / "both.safetensors")
    assert "2 networks" in capsys.readouterr().out
    assert len(models.load(tmp_path / "both.safetensors").members) == 2
    with pytest.raises(UserError, match="does not exist; name a run folder or a weights file"):
        ensemble([str(tmp_path / "nowhere")], tmp_path / "both.safetensors")
    with pytest.raises(UserError, match="must end in"):
        ensemble([str(tmp_path / "0")], tmp_path / "both.pt")
