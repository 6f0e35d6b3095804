"""How many images may show a sign before a check doubts: shares that honest models stay below."""

from math import ceil

import scipy  # its stats, which take long to import, when they are asked for

IMAGES = 200  # that were looked at; fewer say too little
POWER = 0.05  # how often a sign that half of the images show may go unseen
FALSE_ALARM = 1e-3  # how often a check doubts a model whose images show its sign with just the allowed probability

ALLOWED = {
    "one_step_not_better": 0.01,
    "black_box_not_better": 0.01,
    "random_noise_finds_nothing": 0.005,
    "unlimited_attack_succeeds": 0.01,
    "success_grows_with_eps": 0.01,
    "gradients_available": 0.01,
    "predictions_stable": 0.05,
    "no_silent_success": 0.05,
    "optimisation_complete": 0.05,
    "attacks_transfer": 0.15,  # to the vote; few draws overstate what a point does
    "steps_converged": 0.005,
    "restarts_converged": 0.005,
    "survives_rounding": 0.05,
}
DEFINED = ("steps_converged", "restarts_converged")  # by no statistics: what changes by half a point has not converged
HALF = 0.5  # of the images that could show one of these: where more do, nothing is left of the accuracy that was quoted
VOID = (
    "one_step_not_better", "black_box_not_better", "random_noise_finds_nothing", "unlimited_attack_succeeds",
    "gradients_available",
)  # fmt: skip
LEAST = {"steps": 100, "restarts": 10, "queries": 1_000, "noise_draws": 10_000}  # of a diagnosis; less proves nothing
UNSTABLE = 0.1  # the margin's relative change over small random moves (Pintor et al. 2022)
INCOMPLETE = 0.05  # of the whole gain, what the last ten steps brought (Pintor et al. 2022, their code)


def limit(check: str, images: int, looks: int = 1) -> int:
    """The largest count of `images` that passes, where one in any of so many `looks` decides.

    >>> limit("black_box_not_better", 200), limit("steps_converged", 200), limit("steps_converged", 1_000)
    (8, 0, 4)
    """
    if check in DEFINED:
        return max(0, ceil(ALLOWED[check] * images) - 1)
    return largest(ALLOWED[check], images, looks)


def tells(check: str, images: int, looks: int = 1) -> bool:
    """Whether a pass on so many says anything: where half of them showed the sign, 19 times in 20 it would be doubted.

    >>> tells("black_box_not_better", 2), tells("black_box_not_better", 11)
    (False, True)
    """
    return bool(scipy.stats.binom.cdf(limit(check, images, looks), images, HALF) <= POWER)


def largest(share: float, images: int, looks: int = 1) -> int:
    """More are seen with probability `FALSE_ALARM` at most, in any of so many `looks`, where the share is no larger.

    >>> largest(HALF, 10), largest(HALF, 200)
    (9, 122)
    """
    return int(scipy.stats.binom.isf(FALSE_ALARM / looks, images, share))
