"""The smoothed classifier as it is certified and served: the class that wins under noise, or an abstention.

Cohen, Rosenfeld, Kolter 2019, CERTIFY and PREDICT, on the pixel lattice: the input is rounded to the lattice, the
noise is integer (`gambeson.noise`). The class is picked on one set of draws and bounded on another; the two have
different keys, so they cannot be the same draws.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import nextafter
from typing import NamedTuple

import numpy as np
import scipy  # its stats, which take long to import, when they are asked for
from numpy.typing import NDArray
from scipy.special import bdtrc
from torch import Tensor

from gambeson.bursts import Request
from gambeson.certificates import Certificate, applicable
from gambeson.errors import UserError
from gambeson.inference import Served
from gambeson.keys import Part
from gambeson.noise import Lattice
from gambeson.sampling import Counts, counts, to_lattice
from gambeson.smoothed.procedure import ABSTAIN, Ask
from gambeson.stats import lower, top_and_rest


class Bounds(NamedTuple):
    """On the selected class alone at alpha; and on it and the largest other class together at alpha."""

    one_sided: float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class Smoothed:
    """A smoothed classifier: a served base model, a noise on the lattice, the number of classes and a run seed.

    off: how far the images that it is certified on lie off the lattice at most, in the tight certificate's norm.
    """

    base: Served
    noise: Lattice
    classes: int
    seed: int = 0
    off: float = 0.0

    def predict(
        self, pixels: Tensor, *, index: int, draws: int, alpha: float, purpose: str = "predict"
    ) -> tuple[int, Counts]:
        """The class of one image (C, H, W) in [0, 1], or ABSTAIN; wrong with probability at most `alpha`.

        Abstains unless the exact two-sided binomial test of the two most frequent classes rejects a tie at `alpha`
        (Cohen et al., PREDICT), whatever draws the sampler's error may have changed. Where the noisy copies can be
        enumerated, all of them are counted, whatever `draws`: no answer is a matter of chance.
        """
        return self.predict_all([pixels], [index], draws=draws, alpha=alpha, purpose=purpose)[0]

    def predict_all(
        self, images: Iterable[Tensor], names: Iterable[Part], *, draws: int, alpha: float, purpose: str = "predict"
    ) -> list[tuple[int, Counts]]:
        """The same for several images, which share calls of the model."""
        images = list(images)
        found = self.answers(images, names, Ask("estimate", 0, self.draws(draws)), purpose)
        return [(self.decide(one, alpha, image.numel()), one) for image, one in zip(images, found, strict=True)]

    def decide(self, counts: Counts, alpha: float, values: int) -> int:
        """The most frequent class, or ABSTAIN where the test does not tell it from the next. Of every copy: the most
        frequent class, the first of several.

        Each draw is one of the true noise but for a chance of tau: all but a few are, except with probability alpha /
        10 at most, which the test does without. These few count against the most frequent class.

        Where rows differ, draws are not alike and the two most frequent classes are no binomial pair: then a class
        must show a probability above 1/2, at alpha over all classes.
        """
        if self.noise.states is not None:
            return int(counts.classes.argmax())
        runner_up, top = np.sort(counts.classes)[-2:].tolist()
        if self.base.positions == "mixture":
            sure = self.less_tau(float(lower(top, counts.draws, alpha / self.classes)), values) > 0.5
            return int(counts.classes.argmax()) if sure else ABSTAIN
        few = int(scipy.stats.binom.isf(alpha / 10, counts.draws, self.tau(values)))
        left = alpha - float(scipy.stats.binom.sf(few, counts.draws, self.tau(values)))
        tied = 1.0 if top - few <= runner_up + few else 2 * float(bdtrc(top - few - 1, top + runner_up, 0.5))
        return int(counts.classes.argmax()) if tied <= left else ABSTAIN

    def draws(self, asked: int) -> int:
        """How many noisy copies are looked at where `asked` would do: every one that there is, if they are so few, and
        whole calls where rows differ.
        """
        whole = self.base.form.batch if self.base.positions == "mixture" else 1
        return self.noise.states or -(-asked // whole) * whole

    def bounds(self, counts: NDArray[np.int64], selected: int, draws: int, alpha: float, values: int) -> Bounds:
        """Bounds at `alpha` on the selected class, alone and against all others, moved outward by tau."""
        tau = self.tau(values)
        one_sided = self.less_tau(float(lower(int(counts[selected]), draws, alpha)), values)
        p_lower, p_upper = top_and_rest(counts, selected, alpha, draws)
        p_lower, p_upper = shift(float(p_lower), -tau), shift(float(p_upper), tau)
        return Bounds(one_sided, p_lower, min(p_upper, 1 - p_lower))

    def radii(self, bounds: Bounds) -> dict[str, float]:
        """The radius of every certificate that the noise allows: NAME from the one-sided bound, NAME_two_sided
        from the pair.
        """
        found, scale = self.one_sided_radii(bounds.one_sided), self.noise.noise.scale
        for certificate in self.certificates():
            found[certificate.name + "_two_sided"] = float(certificate.radius(bounds.lower, bounds.upper, scale))
        return found

    def one_sided_radii(self, p_lower: float) -> dict[str, float]:
        """The radius of every certificate from a lower bound on the selected class alone."""
        scale = self.noise.noise.scale
        return {row.name: float(row.radius(p_lower, None, scale)) for row in self.certificates()}

    def less_tau(self, p: float, values: int) -> float:
        """A lower bound on the drawn probability as one on the true probability."""
        return shift(p, -self.tau(values))

    def largest_radii(self, draws: int, alpha: float, values: int) -> dict[str, float]:
        """What can be certified at most: the radii when all draws agree."""
        unanimous = np.zeros(self.classes, dtype=np.int64)
        unanimous[0] = draws
        return self.radii(self.bounds(unanimous, 0, draws, alpha, values))

    def fills_rows(self, draws: int, alpha: float, prefix: str = "") -> None:
        """Refuse, where rows differ, draws that do not fill the rows of a call equally often, and alpha >= 1/4. prefix:
        of the names by which the caller knows them.

        Each row then has a probability of its own, and an image's n draws fill them equally. Bounds are made for a
        binomial; with p the mean probability, k hits or more are no likelier than it says if k >= np + 1 (Hoeffding
        1956). A bound that exceeds p needs that many if alpha < 1/4: np hits or more have a binomial probability of at
        least 1/4 where p > 1/n (Greenberg & Mohri 2014); where p is smaller one hit may do, but proves no radius.
        """
        if self.base.positions == "alike" or self.noise.states is not None:
            return
        batch, why = self.base.form.batch, f"the logits depend on the row of a call in the form {self.base.form}"
        if draws % batch:
            nearest = max(1, round(draws / batch)) * batch
            raise UserError(
                f"{prefix}draws is {draws}, and {why}: give a multiple of {batch}, such as {nearest}, or certify in "
                "another form"
            )
        if alpha >= 1 / 4:
            raise UserError(
                f"{prefix}alpha is {alpha}, and {why}: its bounds hold below 1/4; give less, or certify in another form"
            )

    def certificates(self) -> list[Certificate]:
        return applicable(self.noise.noise.kind)

    def norms(self) -> dict[str, str]:
        """The norm of every radius, by the radius's name."""
        return {row.name + side: row.norm for row in self.certificates() for side in ("", "_two_sided")}

    def tau(self, values: int) -> float:
        """How far the noise over a whole image of `values` values may be from the true noise (total variation)."""
        return nextafter(self.noise.tau * values, 1) if self.noise.tau else 0.0

    def request(self, pixels: Tensor, index: Part, ask: Ask, purpose: str = "certify") -> Request:
        """What an image's procedure asks for, as work for `gambeson.sampling.counts`."""
        key = (self.seed, purpose, self.noise.noise.name, index, ask.stage)
        return Request(to_lattice(pixels, self.noise.levels), key, ask.draws, ask.first, ask.score)

    def answer(self, pixels: Tensor, index: Part, ask: Ask, purpose: str = "certify") -> Counts:
        """The counts that one image's procedure asks for, here and now."""
        return self.answers([pixels], [index], ask, purpose)[0]

    def answers(
        self, images: Iterable[Tensor], names: Iterable[Part], ask: Ask, purpose: str = "certify"
    ) -> list[Counts]:
        """The same for several images, which share calls of the model."""
        work = [self.request(image, name, ask, purpose) for image, name in zip(images, names, strict=True)]
        return counts(self.base, work, noise=self.noise, classes=self.classes)


def shift(p: float, tau: float) -> float:
    """A probability bound moved by tau (negative: down), rounded away from us, kept within [0, 1]."""
    return min(1.0, max(0.0, nextafter(p + tau, float(np.copysign(np.inf, tau)))))
