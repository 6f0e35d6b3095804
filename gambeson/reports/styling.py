"""The same method has the same colour in every figure; lines that share a colour differ in dash."""

from collections import Counter
from collections.abc import Sequence

from gambeson.reports.charts import Line
from gambeson.reports.palette import SERIES
from gambeson.reports.series import Source

MOST_LINES = 8  # in one figure, where it can be divided


def colours(sources: Sequence[Source]) -> dict[str, int]:
    """A colour number for every source by name: runs of one method share it, logs and unknown methods have their
    own."""
    keys = [source.method or source.name for source in sources]
    order = {key: place % len(SERIES) for place, key in enumerate(dict.fromkeys(keys))}
    return {source.name: order[key] for source, key in zip(sources, keys, strict=True)}


def told_apart(lines: Sequence[Line]) -> list[Line]:
    """The lines with dashes counted within each colour, from the dash that a line has."""
    seen: Counter[int] = Counter()
    styled = []
    for line in lines:
        styled.append(Line(line.name, line.x, line.y, line.shape, line.colour, line.dash + seen[line.colour]))
        seen[line.colour] += 1
    return styled
