"""Bounds on probabilities to a radius. No torch; `__all__` and CERTIFICATES are the registry."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..stats import largest_p_lower
from .dp_l1 import dp_l1
from .dp_l2 import dp_l2
from .gaussian_l2 import gaussian_l2
from .laplace_l1 import laplace_l1
from .renyi_l1 import renyi_l1
from .renyi_l2 import renyi_l2
from .splitting_l1 import splitting_l1
from .uniform_l1 import uniform_l1

__all__ = ["dp_l1", "dp_l2", "gaussian_l2", "laplace_l1", "renyi_l1", "renyi_l2", "splitting_l1", "uniform_l1"]


@dataclass(frozen=True)
class Certificate:
    """One row of the registry: `radius(p_lower, p_upper, scale)` holds for this noise and bounds this norm."""

    name: str
    noise: str
    norm: str
    radius: Callable[..., float | NDArray[np.float64]]
    title: str
    paper: str


_ROWS = (
    Certificate("gaussian_l2", "gaussian", "l2", gaussian_l2, "Neyman-Pearson (tight)", "Cohen et al. 2019"),
    Certificate("renyi_l2", "gaussian", "l2", renyi_l2, "Renyi divergence", "Li et al. 2019"),
    Certificate("dp_l2", "gaussian", "l2", dp_l2, "Differential privacy", "Lecuyer et al. 2019"),
    Certificate("laplace_l1", "laplace", "l1", laplace_l1, "Neyman-Pearson (tight)", "Teng et al. 2019"),
    Certificate("renyi_l1", "laplace", "l1", renyi_l1, "Renyi divergence", "Li et al. 2019"),
    Certificate("dp_l1", "laplace", "l1", dp_l1, "Differential privacy", "Lecuyer et al. 2019"),
    Certificate("uniform_l1", "uniform", "l1", uniform_l1, "Overlap of cubes", "Yang et al. 2020"),
    Certificate("splitting_l1", "splitting", "l1", splitting_l1, "Shared cells, exact", "Levine & Feizi 2021"),
)
CERTIFICATES: dict[str, Certificate] = {row.name: row for row in _ROWS}


def applicable(noise_kind: str) -> list[Certificate]:
    """The certificates that hold for a kind of noise, such as "gaussian" or "uniform", the tight one first.

    >>> [row.name for row in applicable("uniform")]
    ['uniform_l1']
    """
    rows = [row for row in CERTIFICATES.values() if row.noise == noise_kind]
    if not rows:
        kinds = ", ".join(dict.fromkeys(row.noise for row in CERTIFICATES.values()))
        raise UserError(f"noise kind {noise_kind!r} has no certificate; allowed: {kinds}")
    return rows


def max_radius(name: str, n: int, alpha: float, scale: float, tau: float = 0.0) -> float:
    """The largest radius that n draws allow at alpha: all draws agree, p_lower = alpha**(1/n) - tau, one-sided.

    Args:
        name: a certificate's name.
        n: draws, in [1, 10^9].
        alpha: failure probability in (0, 1).
        scale: sigma, b or half-width of the noise, in pixel units.
        tau: bias of the sampler, in [0, 1), taken off p_lower.

    Returns: radius in pixel units, rounded down; 0 where nothing can be certified. Raises: UserError.

    >>> round(max_radius("gaussian_l2", 100_000, 0.001, 1.0), 3)
    3.811
    """
    if name not in CERTIFICATES:
        raise UserError(f"certificate {name!r} is unknown; allowed: {', '.join(CERTIFICATES)}")
    if not 0 <= tau < 1:
        raise UserError(f"tau = {tau!r} is out of range; allowed: a probability with 0 <= tau < 1")
    p_lower = float(np.nextafter(largest_p_lower(n, alpha) - tau, 0.0)) if tau else largest_p_lower(n, alpha)
    return float(CERTIFICATES[name].radius(max(0.0, p_lower), None, scale))
