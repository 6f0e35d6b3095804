"""Images as tanh of something without bounds, so that steps never leave the box."""

from torch import Tensor

from gambeson.types import Box, Images

_INSIDE = 1 - 1e-6  # tanh is never 1


def to_tanh(x: Images, box: Box) -> Tensor:
    return ((2 * (x - box.lower) / (box.upper - box.lower) - 1) * _INSIDE).atanh()


def from_tanh(w: Tensor, box: Box) -> Images:
    """Inside the box whatever `w` is."""
    inside: Tensor = (w.tanh() + 1) / 2 * (box.upper - box.lower) + box.lower
    return inside.clamp(box.lower, box.upper)
