"""The radii at which the literature compares certified accuracy."""

STEP = 0.25
PUBLISHED = {"mnist": (1.58,), "fashion-mnist": (), "cifar10": (36 / 255,), "digits": ()}  # in l2, besides the steps


def customary(dataset: str | None, norm: str, largest: float) -> list[float]:
    """Every multiple of 0.25 up to `largest`, and the data set's published radii wherever they lie.

    dataset: its name; one that is not in PUBLISHED has the steps alone. norm: "l2" or "l1". largest: finite, in [0, 1]
    pixel units. Returns increasing radii.

    >>> customary("mnist", "l2", 1.0)
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.58]
    """
    steps = {STEP * step for step in range(int(largest / STEP) + 1)}
    return sorted(steps | set(published(dataset, norm)))


def published(dataset: str | None, norm: str) -> tuple[float, ...]:
    """The radii of a data set at which papers compare in this norm, beside the multiples of 0.25."""
    return PUBLISHED.get(dataset or "", ()) if norm == "l2" else ()
