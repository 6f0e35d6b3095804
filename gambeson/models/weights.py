"""Weights on disk: safetensors, or a state dict read with weights_only=True. Nothing in a file is ever executed."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from gambeson.errors import UserError
from gambeson.models.fingerprint import unwrap

OPTIONAL = ("num_batches_tracked", "normalize.mean", "normalize.std")
PREFIXES = ("module.", "model.", "_orig_mod.", "1.")  # DataParallel, wrappers, torch.compile, Sequential
NESTED = ("state_dict", "model_state_dict", "model", "net")  # where the field's checkpoints keep the state dict
DAMAGED = "it is damaged or cut short; download or copy it again and compare its size"
RESAVE = (
    "Gambeson reads tensors only and never runs code from a file. If you trust it, load it where it was made and write "
    "torch.save(model.state_dict(), 'weights.pt')"
)


def write(model: nn.Module, path: str | Path, metadata: Mapping[str, str]) -> None:
    """Write the state dict as safetensors, whole or not at all: a temporary file, then os.replace."""
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in unwrap(model).state_dict().items()}
    content = safetensors.torch.save(tensors, dict(metadata))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_metadata(path: str | Path) -> dict[str, str]:
    """The text that travels with the weights; empty where there is none or the file is a state dict."""
    if kind(path) != "safetensors":
        return {}
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            return dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({error}): {DAMAGED}") from error


def read(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file: safetensors, or torch.load(weights_only=True), also nested under one of `NESTED`."""
    form = kind(path)
    try:
        if form == "safetensors":
            return safetensors.torch.load_file(str(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UserError(f"{path} holds Python objects besides tensors, or is no weights file: {RESAVE}") from error
    except (safetensors.SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        if "TorchScript" in str(error):
            raise UserError(f"{path} is a TorchScript archive, which contains code: {RESAVE}") from error
        raise UserError(f"{path} could not be read as weights: {DAMAGED}") from error
    while isinstance(content, Mapping) and not all(isinstance(value, Tensor) for value in content.values()):
        inside = next((content[name] for name in NESTED if isinstance(content.get(name), Mapping)), None)
        if inside is None:
            found = ", ".join(map(str, list(content)[:6]))
            raise UserError(f"{path} holds {found}, no state dict at its top or under {', '.join(NESTED)}. {RESAVE}")
        content = inside
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path} holds a {type(content).__name__} without tensors, not a state dict. {RESAVE}")
    return dict(content)


def kind(path: str | Path) -> str:
    """safetensors or pickle, by the file's first bytes; anything else is refused with what it looks like."""
    path = Path(path)
    if not path.is_file():
        state = "is a folder; name the file in it" if path.is_dir() else "does not exist; correct the path"
        raise UserError(f"weights file {path} {state}")
    with path.open("rb") as file:
        head = file.read(512)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head[8:9] == b"{" or (path.suffix == ".safetensors" and text[:1] not in (b"<", b"v")):
        return "safetensors"
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":
        return "pickle"
    if text[:1] == b"<":
        raise UserError(
            f"{path} is a web page (it begins with {text[:15]!r}), not weights: the link is dead or asks for a "
            "login; download it in a browser"
        )
    if text.startswith(b"version https://git-lfs"):
        raise UserError(f"{path} is a Git LFS pointer, not weights: run `git lfs pull`")
    size = path.stat().st_size
    raise UserError(f"{path} ({size} bytes) is not a weights file: give .safetensors, or .pt/.pth with a state dict")


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Read weights into `model`, in place: every tensor, or none and a UserError that names what does not fit.

    Prefixes in `PREFIXES` are stripped where that makes the names match. Two things may be missing and stay as they are
    in the model: `num_batches_tracked` counters (checkpoints older than PyTorch 0.4.1), and our normalisation layer,
    mean and std together (the field's checkpoints do not carry theirs: give them to `build`). Everything else must be
    there, and nothing more.

    >>> load_weights(nn.Linear(2, 2), "missing.pt")
    Traceback (most recent call last):
    gambeson.errors.UserError: weights file missing.pt does not exist; correct the path
    """
    model = unwrap(model)
    wanted = model.state_dict()
    found = strip(read(path), set(wanted))
    optional = "num_batches_tracked" if any(name.startswith("normalize.") for name in found) else OPTIONAL
    missing = [name for name in wanted if name not in found and not name.endswith(optional)]
    unexpected = [name for name in found if name not in wanted]
    wrong = [
        f"{name} is {tuple(found[name].shape)} in the file and {tuple(wanted[name].shape)} in the model"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    complaints = [
        f"{len(names)} {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("wrongly shaped", wrong))
        if names
    ]
    if complaints:
        raise UserError(
            f"{path} does not fit the model ({'; '.join(complaints)}). Build the architecture that the weights "
            "were trained with: same options, classes and image shape"
        )
    model.load_state_dict(found, strict=False)


def strip(state: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """Take off a common prefix, one after another, while that brings the names closer to `wanted`."""
    best = state
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        if len(wanted & set(state)) > len(wanted & set(best)):
            best = state
    return best
