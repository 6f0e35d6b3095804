"""Architectures by name. `__all__` is the registry: to add one, write its file and name it here.

Every architecture takes images (N, C, H, W) in [0, 1], normalises them in its first layer, and ends in one nn.Linear
that gives logits (N, classes).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gambeson.errors import UserError, nearest
from gambeson.models.black_box import BlackBox
from gambeson.models.digits_cnn import digits_cnn
from gambeson.models.ensemble import ensemble
from gambeson.models.factory import from_factory
from gambeson.models.fingerprint import fingerprint, unwrap
from gambeson.models.ibp_large import ibp_large
from gambeson.models.ibp_medium import ibp_medium
from gambeson.models.ibp_small import ibp_small
from gambeson.models.layers import Normalize
from gambeson.models.lenet import lenet
from gambeson.models.modes import evaluating, frozen
from gambeson.models.onnx import from_onnx
from gambeson.models.preactresnet18 import preactresnet18
from gambeson.models.resnet import resnet20, resnet110
from gambeson.models.smallcnn import smallcnn
from gambeson.models.stn_mnist import stn_mnist
from gambeson.models.weights import load_weights, read_metadata, write
from gambeson.models.wideresnet import wideresnet

__all__ = [
    "digits_cnn",
    "ibp_large",
    "ibp_medium",
    "ibp_small",
    "lenet",
    "preactresnet18",
    "resnet20",
    "resnet110",
    "smallcnn",
    "stn_mnist",
    "wideresnet",
]

COMMON = ("classes", "shape", "mean", "std")  # what every architecture takes; the rest of its signature are its options


@dataclass(frozen=True)
class Architecture:
    """What `build` needs to make the same network again; it is written into the weights file."""

    name: str
    classes: int
    shape: tuple[int, int, int]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    options: Mapping[str, Any]


def names() -> list[str]:
    """The architectures that `build` knows."""
    return sorted(__all__)


def options(name: str) -> dict[str, Any]:
    """The options of an architecture with their defaults.

    >>> options("lenet")
    {'activation': 'relu'}
    """
    if name not in __all__:
        raise UserError(f"model {name!r} is not known; " + nearest(name, sorted(__all__)))
    parameters = signature(globals()[name]).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.name not in COMMON}


def build(
    name: str,
    *,
    classes: int,
    shape: tuple[int, int, int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **settings: Any,
) -> nn.Module:
    """A new network: images (N, C, H, W) in [0, 1] -> logits (N, classes); weights from torch's global generator.

    Args: `name` one of `names()`; `classes` >= 2; `shape` (C, H, W); `mean`, `std` one value per channel in pixel
    units, or None for no normalisation; `settings` the architecture's own options, see `options(name)`.
    Raises UserError, with a suggestion, for a name, an option or a size that does not exist.

    >>> build("lenet", classes=10, shape=(1, 28, 28))[-1]
    Linear(in_features=500, out_features=10, bias=True)
    >>> build("lenet", classes=10, shape=(1, 28, 28), activaton="elu")
    Traceback (most recent call last):
    gambeson.errors.UserError: model 'lenet' has no option 'activaton'; did you mean activation? Known: activation
    """
    known = options(name)
    for setting in settings:
        if setting not in known:
            raise UserError(f"model {name!r} has no option {setting!r}; " + nearest(setting, sorted(known)))
    if not (isinstance(classes, int) and classes >= 2):
        raise UserError(f"classes is {classes!r}; it must be an integer >= 2")
    if len(shape) != 3 or not all(isinstance(side, int) and side >= 1 for side in shape):
        raise UserError(f"shape is {shape!r}; it must be (channels, height, width), integers >= 1")
    shape = (shape[0], shape[1], shape[2])
    model: nn.Module = globals()[name](classes=classes, shape=shape, mean=mean, std=std, **settings)
    pinned = [None if values is None else tuple(float(value) for value in values) for values in (mean, std)]
    # a plain attribute (not a buffer): it survives copies, and `save` writes it beside the weights
    model.architecture = Architecture(name, classes, shape, pinned[0], pinned[1], settings)  # type: ignore[assignment]
    return model


def save(model: nn.Module, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights as safetensors, whole or not at all, with what `load` needs to build the model again.

    `metadata` is any text to keep beside the weights (recipe, version); the key "architecture" is ours.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> save(build("lenet", classes=10, shape=(1, 28, 28)), folder + "/model.safetensors", {"note": "untrained"})
    >>> load(folder + "/model.safetensors").architecture.name
    'lenet'
    """
    made = getattr(unwrap(model), "architecture", None)
    if "architecture" in (metadata or {}):
        raise UserError("metadata key 'architecture' is written by save itself; choose another name")
    ours = {"architecture": json.dumps(asdict(made))} if isinstance(made, Architecture) else {}
    write(model, path, {**ours, **(metadata or {})})


def load(path: str | Path) -> nn.Module:
    """Build the model that `save` wrote, and load its weights; in evaluation mode, on the CPU.

    Raises UserError for a file that does not say which architecture it holds: build the model, then `load_weights`.
    """
    written = read_metadata(path)
    if "architecture" not in written:
        raise UserError(
            f"{path} does not say which architecture it holds (Gambeson did not build that model); "
            "build the model, or name its factory as package.module:factory, and load the weights into it"
        )
    with torch.random.fork_rng(devices=[]):  # the first weights are drawn only to be overwritten
        model = _built(json.loads(written["architecture"]))
    load_weights(model, path)
    return model.eval()


def _built(fields: dict[str, Any]) -> nn.Module:
    """The network that an architecture, as `save` wrote it, describes; an ensemble is one of several."""
    name, settings = fields.pop("name"), fields.pop("options")
    if name == "ensemble":
        return ensemble([_built(member) for member in settings["members"]])
    return build(name, **fields, **settings)
