"""Numbers of draws with which no outcome could decide anything are refused before any is made."""

import itertools
from math import floor, log2
from numbers import Integral

from gambeson.errors import UserError
from gambeson.stats import MOST_DRAWS, betting, largest_p_lower, score_bins


def certify_budget(draws: int, select_draws: int, alpha: float) -> None:
    """Refuse what certifies nothing even if all draws agree: a lower bound alpha^(1/n) <= 1/2."""
    _check_alpha("alpha", alpha)
    _check_whole(draws=draws, select_draws=select_draws)
    if select_draws < 1:
        raise UserError(f"select_draws is {select_draws}; it must be at least 1 (100 is customary)")
    needed = floor(-log2(alpha)) + 1
    if draws < needed or largest_p_lower(draws, alpha) <= 0.5:
        raise UserError(
            f"draws is {draws} at alpha {alpha}: even if all agreed, nothing could be certified; give draws >= {needed}"
        )


def soft_budget(draws: int, alpha: float) -> None:
    """Refuse what certifies nothing even if all scores are in the best bin: a lower bound on their mean <= 1/2."""

    def enough(n: int) -> bool:
        return betting.lower(score_bins.least_scores()[:1], [n], alpha) > 0.5

    if not enough(draws):
        needed = next(n for n in itertools.count(draws + 1) if enough(n))
        raise UserError(
            f"draws is {draws} at alpha {alpha}: even if all scores were 1, nothing could be certified; give draws >= "
            f"{needed}"
        )


def predict_budget(draws: int, alpha: float, prefix: str = "predict_") -> None:
    """Refuse what abstains even if all draws agree: a two-sided binomial test at 2^(1-n) >= alpha, of which a little is
    kept for the sampler. prefix: of the names by which the caller knows them.
    """
    _check_alpha(f"{prefix}alpha", alpha)
    _check_whole(**{f"{prefix}draws": draws})
    needed = 1
    while 2.0 ** (1 - needed) >= alpha:
        needed += 1
    if draws < needed:
        raise UserError(
            f"{prefix}draws is {draws} at {prefix}alpha {alpha}: even if all agreed, the prediction would abstain; "
            f"give {prefix}draws >= {needed}"
        )


def leave_out(given: dict[str, bool], why: str) -> None:
    """Refuse settings that would do nothing."""
    if useless := ", ".join(name for name, is_given in given.items() if is_given):
        raise UserError(f"{why}: leave {useless} out")


def _check_whole(**counts: int) -> None:
    for name, count in counts.items():
        if not isinstance(count, Integral) or isinstance(count, bool):
            raise UserError(f"{name} is {count!r}; it must be a whole number")
        if count > MOST_DRAWS:
            raise UserError(f"{name} is {count:,}; it must be at most {MOST_DRAWS:,}")


def _check_alpha(name: str, alpha: float) -> None:
    if not isinstance(alpha, float | int) or not 0 < alpha < 1:
        raise UserError(f"{name} is {alpha!r}; it must lie strictly between 0 and 1 (0.001 is customary)")
