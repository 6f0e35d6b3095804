"""An accuracy, k right of n images, with its interval."""

from dataclasses import dataclass

from .clopper_pearson import two_sided


@dataclass(frozen=True)
class Accuracy:
    """k of n images, the share, and a two-sided interval that holds with probability >= 1 - alpha."""

    k: int
    n: int
    value: float
    lower: float
    upper: float
    alpha: float


def accuracy(k: int, n: int, alpha: float = 0.05) -> Accuracy:
    """Share k/n of a sample of images with its two-sided Clopper-Pearson interval.

    The random event is which n images were drawn (independently) from the population the statement is about. For one
    subset of a finite test set the interval is conservative as to the full test set.

    Args:
        k: images counted, in [0, n]; abstentions stay in n.
        n: images, >= 1.
        alpha: failure probability in (0, 1).

    Returns: Accuracy. Raises: UserError.

    >>> result = accuracy(350, 500)
    >>> round(result.value, 3), round(result.lower, 3), round(result.upper, 3)
    (0.7, 0.658, 0.74)

    Paper: Clopper and Pearson 1934.
    """
    low, high = two_sided(k, n, alpha)
    return Accuracy(int(k), int(n), int(k) / int(n), float(low), float(high), float(alpha))
