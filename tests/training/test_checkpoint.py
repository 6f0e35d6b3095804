"""Checkpoints are whole or absent, and hold nothing that could be executed."""

import io
from pathlib import Path

import pytest
import torch

from gambeson.errors import RunError
from gambeson.training import checkpoint, metrics


def content() -> dict:
    return {"step": 3, "weights": {"w": torch.randn(100)}, "identity": "text"}


def test_comes_back_as_it_went(tmp_path: Path) -> None:
    saved = content()
    checkpoint.save(tmp_path / "c.pt", saved)
    loaded = checkpoint.load(tmp_path / "c.pt")
    assert loaded is not None
    assert loaded["step"] == 3
    assert torch.equal(loaded["weights"]["w"], saved["weights"]["w"])
    assert checkpoint.load(tmp_path / "other.pt") is None


def test_every_truncation_and_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    checkpoint.save(path, content())
    whole = path.read_bytes()
    for position in range(0, len(whole), 97):
        changed = bytearray(whole)
        changed[position] ^= 1
        for bad in (whole[:position], bytes(changed)):
            path.write_bytes(bad)
            with pytest.raises(RunError, match=r"damaged .* delete it"):
                checkpoint.load(path)


def test_torch_alone_would_not_notice() -> None:
    """Why there is a checksum: a changed byte of a tensor loads without complaint."""
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(1000)}, buffer)
    raw = bytearray(buffer.getvalue())
    raw[len(raw) // 2] ^= 1
    assert torch.load(io.BytesIO(bytes(raw)), weights_only=True)["w"].any()


def test_a_failed_write_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.pt"
    checkpoint.save(path, {"step": 1})
    monkeypatch.setattr("os.fsync", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, {"step": 2})
    monkeypatch.undo()
    loaded = checkpoint.load(path)
    assert loaded is not None
    assert loaded["step"] == 1


def test_objects_are_not_loaded(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c.pt", {"object": Path("x")})
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        checkpoint.load(tmp_path / "c.pt")


def test_metrics_are_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics.cut_back(path, 0)
    for step in (10, 20, 30):
        metrics.append(path, {"step": step})
    with path.open("a") as file:
        file.write('{"step": 3')  # torn
    metrics.cut_back(path, 20)
    assert path.read_text() == '{"step":10}\n{"step":20}\n'
