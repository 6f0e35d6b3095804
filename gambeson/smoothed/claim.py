"""The fields of a certified record that every procedure writes: what was counted, and what is claimed of it."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from gambeson.sampling import Counts
from gambeson.smoothed.procedure import ABSTAIN
from gambeson.smoothed.rounding import lattice_radii, real_radii

if TYPE_CHECKING:
    from gambeson.smoothed.hard import Smoothed


def claim(
    smoothed: "Smoothed", pixels: Tensor, selected: int, select: Counts | None, found: Counts, *, p_lower: float,
    radii: dict[str, float], reason: str | None, two_sided: tuple[float | None, float | None] = (None, None),
) -> dict[str, Any]:  # fmt: skip
    """select: the counts that picked `selected`, None where none were needed. found: those that bound it, from which
    p_lower, two_sided (lower, upper) and radii are. reason: why it abstains, None where it answers.
    """
    lower, upper = two_sided
    return {
        "predict": selected if reason is None else ABSTAIN,
        "reason": reason,
        "selected": selected,
        "select_counts": [] if select is None else select.classes.tolist(),
        "counts": found.classes.tolist(),
        "nonfinite": found.nonfinite,
        "p_lower": p_lower,
        "p_lower_two_sided": lower,
        "p_upper_two_sided": upper,
        "radii": lattice_radii(pixels, radii, smoothed.norms(), smoothed.noise.levels),
        "radii_real": real_radii(pixels, radii, smoothed.norms(), smoothed.noise.levels),
    }
