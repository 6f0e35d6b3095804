"""A certification procedure: asks for draws, is sent their counts, returns the fields of a record.

Written as a generator, so that one driver can run it on one image, many images in shared batches, or on other
machines, and resume it by sending the counts that it was sent before: the procedure cannot tell.
"""

from collections.abc import Generator
from typing import Any, NamedTuple

from gambeson.sampling import Counts

ABSTAIN = -1


class Ask(NamedTuple):
    """Draws `first` .. `first + draws` of the image's stream for `stage`: "select" or "estimate".

    score: the class whose scores are counted beside the votes.
    """

    stage: str
    first: int
    draws: int
    score: int | None = None


Procedure = Generator[Ask, Counts, dict[str, Any]]
