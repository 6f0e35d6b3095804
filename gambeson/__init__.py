"""Gambeson: train, attack, certify and doubt robust image classifiers.

Names are imported lazily: `import gambeson` does not import torch.

>>> import gambeson
>>> sorted(gambeson.__all__)
['Form', 'SmoothedClassifier', 'attacked', 'certified', 'clean', 'diagnosed', 'load', 'train']
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0.dev0"

_HOMES = {
    "Form": "gambeson.inference",
    "SmoothedClassifier": "gambeson.smoothed.classifier",
    "attacked": "gambeson.evaluation",
    "certified": "gambeson.evaluation",
    "clean": "gambeson.evaluation",
    "diagnosed": "gambeson.evaluation",
    "load": "gambeson.data",
    "train": "gambeson.training",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gambeson' has no attribute {name!r}; it has {', '.join(sorted(_HOMES))}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
