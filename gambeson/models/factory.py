"""Bring your own model: `package.module:factory` names a function that makes it."""

import importlib
import os
import sys
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from gambeson.errors import UserError, nearest
from gambeson.models.fingerprint import fingerprint
from gambeson.models.layers import Normalize, normalize
from gambeson.models.weights import load_weights, read


def from_factory(
    spec: str,
    weights: str | Path | None = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> nn.Module:
    """Import `package.module:factory`, call it, load weights, put a normalisation layer first; in evaluation mode.

    Args: `spec` names a function without required arguments that returns an nn.Module, in a module that can be
    imported from the current folder or the environment; `weights` a safetensors file or a state dict; `mean` and `std`
    one value per channel in [0, 1] pixel units, for a model that does not normalise its inputs itself. Weights that
    carry a normalisation layer (written by `save` from such a model) bring it along. Importing runs the user's own
    code; nothing in the weights file is run.
    Returns the model, images in [0, 1] -> logits. Raises UserError for every way in which this goes wrong.

    >>> from_factory("torch.nn:Identity")
    Identity()
    """
    model = make(spec)
    normalises = any(isinstance(layer, Normalize) for layer in model.modules())
    if normalises and (mean is not None or std is not None):
        raise UserError(f"{spec} normalises its inputs already; leave mean and std out")
    if mean is not None and std is not None and len(mean) != len(std):
        raise UserError(f"mean has {len(mean)} values and std {len(std)}; give one of each for every channel")
    first = None if mean is None and std is None else normalize((len(mean or std or ()), 1, 1), mean, std)
    state = {} if weights is None else read(weights)
    if "normalize.mean" in state and "normalize.std" in state and not normalises:
        carried = Normalize(*(state[f"normalize.{name}"].flatten().tolist() for name in ("mean", "std")))
        if first is not None and fingerprint(first) != fingerprint(carried):
            raise UserError(f"{weights} carries its own normalisation; leave mean and std out, or give the same")
        model = wrap(carried, model)
        first = None
    if weights is not None:
        load_weights(model, weights)
    return (model if first is None else wrap(first, model)).eval()


def wrap(first: Normalize, model: nn.Module) -> nn.Module:
    """`model` behind a normalisation layer; `save` and `load_weights` know the two by these names."""
    return nn.Sequential(OrderedDict(normalize=first, model=model))


def make(spec: str) -> nn.Module:
    """What the factory returns; whatever goes wrong is a UserError that says where."""
    module, colon, name = spec.partition(":")
    if not (module and colon and name):
        raise UserError(f"model {spec!r} is not of the form package.module:factory (for example my_models:resnet50)")
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)  # a file beside the user counts, as under `python -m`
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            if not hasattr(found, part):
                public = [name for name in dir(found) if not name.startswith("_") and callable(getattr(found, name))]
                raise UserError(f"{module} has no {name!r}; {nearest(part, public)}")
            found = getattr(found, part)
        model = found if isinstance(found, nn.Module) else found()
    except UserError:
        raise
    except ModuleNotFoundError as error:
        where = f"run from the folder that holds it (now {here}), or install it"
        raise UserError(f"model {spec!r}: no module named {error.name!r}; {where}") from error
    except Exception as error:  # the user's code may raise anything; the command line shows one line
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"model {spec!r} could not be made ({reason}); a factory works without arguments") from error
    finally:
        if added:
            sys.path.remove(here)
    if not isinstance(model, nn.Module):
        raise UserError(
            f"model {spec!r} gave an object of type {type(model).__name__}; the factory must return an nn.Module"
        )
    return model
