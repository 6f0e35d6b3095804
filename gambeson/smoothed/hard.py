"""The smoothed classifier as it is certified and served: the class that wins under noise, or an abstention.

Cohen, Rosenfeld, Kolter 2019, CERTIFY and PREDICT, on the pixel lattice: the input is rounded to the lattice, the
noise is integer (`gambeson.noise`). The class is picked on one set of draws and bounded on another; the two have
different keys, so they cannot be the same draws.
"""

from dataclasses import dataclass
from math import nextafter, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc
from torch import Tensor

from gambeson.certificates import Certificate, applicable
from gambeson.inference import Served
from gambeson.noise import Lattice
from gambeson.sampling import Counts, count, to_lattice
from gambeson.stats import lower, top_and_rest

ABSTAIN = -1


@dataclass(frozen=True, eq=False)
class Smoothed:
    """A smoothed classifier: a served base model, a noise on the lattice, the number of classes and a run seed."""

    base: Served
    noise: Lattice
    classes: int
    seed: int = 0

    def predict(
        self, pixels: Tensor, *, index: int, draws: int, alpha: float, purpose: str = "predict"
    ) -> tuple[int, Counts]:
        """The class of one image (C, H, W) in [0, 1], or ABSTAIN; wrong with probability at most `alpha`.

        Abstains unless the exact two-sided binomial test of the two most frequent classes rejects a tie at `alpha`
        (Cohen et al., PREDICT). The draws are taken as exact: tau is not accounted for here.
        """
        counts = self._count(pixels, draws, purpose, index, "estimate")
        runner_up, top = np.sort(counts.classes)[-2:]
        tied = 1.0 if top == runner_up else 2 * float(bdtrc(top - 1, top + runner_up, 0.5))
        return (int(counts.classes.argmax()) if tied <= alpha else ABSTAIN), counts

    def certify(self, pixels: Tensor, *, index: int, select_draws: int, draws: int, alpha: float) -> dict[str, Any]:
        """Counts, bounds and radii of one image (C, H, W) in [0, 1], as the fields of a certified record.

        With probability at least 1 - alpha over the draws, the smoothed classifier gives `selected` to every image
        within the radius; this holds for each certificate by itself. Radii hold against adversaries on the
        lattice, `radii_real` against real-valued ones.
        """
        select = self._count(pixels, select_draws, "certify", index, "select")
        estimate = self._count(pixels, draws, "certify", index, "estimate")
        selected = int(select.classes.argmax())
        tau = self.tau(pixels.numel())
        p_lower = shift(float(lower(int(estimate.classes[selected]), draws, alpha)), -tau)
        two_lower, two_upper = top_and_rest(estimate.classes, selected, alpha, draws)
        two_lower, two_upper = shift(float(two_lower), -tau), shift(float(two_upper), tau)
        two_upper = min(two_upper, 1 - two_lower)
        radii, scale = {}, self.noise.noise.scale
        for certificate in self.certificates():
            radii[certificate.name] = float(certificate.radius(p_lower, None, scale))
            radii[certificate.name + "_two_sided"] = float(certificate.radius(two_lower, two_upper, scale))
        abstains = p_lower <= 0.5
        return {
            "predict": ABSTAIN if abstains else selected,
            "reason": "p_lower <= 1/2" if abstains else None,
            "selected": selected,
            "select_counts": select.classes.tolist(),
            "counts": estimate.classes.tolist(),
            "nonfinite": estimate.nonfinite,
            "p_lower": p_lower,
            "p_lower_two_sided": two_lower,
            "p_upper_two_sided": two_upper,
            "radii": radii,
            "radii_real": self._real_radii(pixels, radii),
        }

    def certificates(self) -> list[Certificate]:
        return applicable(self.noise.noise.kind)

    def tau(self, values: int) -> float:
        """How far the noise over a whole image of `values` values may be from the true noise (total variation)."""
        return nextafter(self.noise.tau * values, 1)

    def rounding_distance(self, values: int) -> dict[str, float]:
        """How far rounding to the lattice can move an image of `values` values, in l2 and l1."""
        half = 0.5 / self.noise.levels
        return {"l2": nextafter(half * sqrt(values), 1e9), "l1": nextafter(half * values, 1e9)}

    def _count(self, pixels: Tensor, draws: int, purpose: str, index: int, stage: str) -> Counts:
        key = (self.seed, purpose, self.noise.noise.name, index, stage)
        image = to_lattice(pixels, self.noise.levels)
        return count(self.base, image, noise=self.noise, draws=draws, key=key, classes=self.classes)

    def _real_radii(self, pixels: Tensor, radii: dict[str, float]) -> dict[str, float]:
        """Radii against real-valued adversaries: theirs and, where the image is off the lattice, our own rounding
        goes off.
        """
        moved = self.rounding_distance(pixels.numel())
        offset = _offset(pixels, self.noise.levels)
        own = {"l2": float(np.linalg.norm(offset)), "l1": float(np.abs(offset).sum())}
        norm = {c.name: c.norm for c in self.certificates()}
        lost = {
            name: moved[norm[name.removesuffix("_two_sided")]] + own[norm[name.removesuffix("_two_sided")]]
            for name in radii
        }
        return {name: max(0.0, nextafter(radius - lost[name], 0)) for name, radius in radii.items()}


def shift(p: float, tau: float) -> float:
    """A probability bound moved by tau (negative: down), rounded away from us, kept within [0, 1]."""
    return min(1.0, max(0.0, nextafter(p + tau, float(np.copysign(np.inf, tau)))))


def _offset(pixels: Tensor, levels: int) -> NDArray[np.float64]:
    """How far an image is from its lattice point; a float32 copy of a lattice point counts as the point itself."""
    nearest = to_lattice(pixels, levels).float() / levels
    offset = (pixels.double() - nearest.double()).numpy().ravel()
    return np.where(np.abs(offset) < 1e-7, 0.0, offset)
