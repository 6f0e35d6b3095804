"""The schedule of looks: fixed, increasing, ending at the cap."""

from itertools import pairwise

import pytest

from gambeson.errors import UserError
from gambeson.stats import looks


@pytest.mark.parametrize("cap", [10, 99, 100, 101, 150, 1_000, 99_999, 100_000, 1_000_000])
def test_looks_grow_by_whole_blocks_to_the_cap(cap):
    found = looks(cap)
    assert found[-1] == cap
    assert all(a < b for a, b in pairwise(found))
    assert all(look % 100 == 0 for look in found[:-1])
    assert all(b >= min(cap, 1.1 * a) for a, b in pairwise(found))


@pytest.mark.parametrize(
    "wrong", [{"cap": 0}, {"cap": 1000, "growth": 1.0}, {"cap": 1000, "step": 0}, {"cap": 1000, "first": 10}]
)
def test_what_is_no_schedule_is_refused(wrong):
    with pytest.raises(UserError, match="looks: cap is"):
        looks(**wrong)
