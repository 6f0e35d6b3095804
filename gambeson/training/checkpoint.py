"""Checkpoints: written whole or not at all, holding only tensors, numbers and strings."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch

from gambeson.errors import RunError

FORMAT = 2
DIGEST = 32  # bytes of SHA-256 after the archive: torch.load itself does not notice a changed byte


def save(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path`: after a kill at any moment the file is the old one or the new one."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    archive = buffer.getvalue()
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(archive + hashlib.sha256(archive).digest())
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too, survives a power cut
    finally:
        os.close(folder)


def load(path: Path) -> dict[str, Any] | None:
    """What `save` wrote, on the CPU; None where there is no checkpoint. Nothing in the file is executed."""
    if not path.exists():
        return None
    raw = path.read_bytes()
    archive, digest = raw[:-DIGEST], raw[-DIGEST:]
    if hashlib.sha256(archive).digest() != digest:
        raise RunError(f"{path} is damaged (its checksum does not match); delete it to train from the start")
    content = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
    if content["format"] != FORMAT:
        raise RunError(f"{path} has format {content['format']}, this version reads {FORMAT}; delete it to train anew")
    return dict(content)
