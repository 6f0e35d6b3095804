"""A hash of a model's weights."""

import hashlib
import json

import torch
from torch import nn

from gambeson.errors import UserError


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside torch.compile, DataParallel and DistributedDataParallel: its names go into the file."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def fingerprint(model: nn.Module) -> str:
    """sha256 of the state dict (name, dtype, shape, bytes, in order of name): the same for equal weights in any file.

    >>> a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> fingerprint(a) == fingerprint(b), len(fingerprint(a))
    (False, 64)
    """
    if not isinstance(model, nn.Module):
        raise UserError(f"{model!r} is not an nn.Module and has no weights to hash")
    digest = hashlib.sha256()
    for name, tensor in sorted(unwrap(model).state_dict().items()):
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)  # as bytes: NumPy has no bfloat16
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(raw.numpy().tobytes())
    return digest.hexdigest()
