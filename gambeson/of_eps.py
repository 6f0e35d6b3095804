"""Settings of attacks that can be compared across eps: step sizes as shares of it."""

from collections.abc import Mapping
from typing import Any

STEP = "step_size / eps"


def of_eps(settings: Any, eps: float) -> Any:
    """The same settings with every step size, of the attack and of those that it runs, divided by eps.

    eps: 0 leaves no room for a step, so all shares are None.

    >>> of_eps({"steps": 20, "step_size": 0.01, "members": [{"step_size": None}]}, 0.1)
    {'steps': 20, 'step_size / eps': 0.1, 'members': [{'step_size / eps': None}]}
    """
    if isinstance(settings, Mapping):
        return {
            STEP if name == "step_size" else name: _share(value, eps) if name == "step_size" else of_eps(value, eps)
            for name, value in settings.items()
        }
    return [of_eps(each, eps) for each in settings] if isinstance(settings, list | tuple) else settings


def _share(step: float | None, eps: float) -> float | None:
    return float(f"{step / eps:.6g}") if eps and step is not None else None
