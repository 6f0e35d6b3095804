"""Keys: every part counts, no two encodings collide, and streams are those of Philox under the full 128 bits."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gambeson.keys import generator, key

PARTS = st.lists(st.one_of(st.integers(), st.text(max_size=6), st.floats(allow_nan=False)), max_size=5)
BASE = (0, "certify", "gaussian:0.5", 17, "estimate", 3)


def test_known_value() -> None:
    """Another machine or version must find the same noise: a change here makes every published run irreproducible."""
    assert key(0, "certify", "gaussian:0.5", 17, "select", 0) == 0xFFEA0573B136363A8B3DBCDE09D8816
    assert generator("pinned", 1).integers(0, 2**63, 2).tolist() == [4816228310291033750, 5985483869658642596]


@pytest.mark.parametrize("position", range(len(BASE)))
def test_a_change_in_any_part_gives_another_stream(position: int) -> None:
    changed = list(BASE)
    changed[position] = {str: "other", int: 99}[type(BASE[position])]
    first, second = (generator(*parts).integers(0, 2**63, 1000) for parts in (BASE, changed))
    assert np.intersect1d(first, second).size == 0


@pytest.mark.parametrize(
    ("a", "b"),
    [(("a", 1), ("a1",)), (("ab", "c"), ("a", "bc")), ((1,), (1.0,)), ((1,), ("1",)), (("a", ""), ("a",)), ((), ("",))],
)
def test_encodings_are_unambiguous(a: tuple, b: tuple) -> None:
    assert key(*a) != key(*b)


@settings(max_examples=50, deadline=None)
@given(PARTS, PARTS)
def test_keys_are_equal_exactly_where_parts_are(a: list, b: list) -> None:
    def typed(parts: list) -> list:
        return [(type(part), repr(part)) for part in parts]

    assert (key(*a) == key(*b)) == (typed(a) == typed(b))


def test_no_collision_where_32_bits_would_collide() -> None:
    keys = {key(seed, "certify", index) for seed, index in itertools.product(range(10), range(10_000))}
    assert len(keys) == 100_000
    assert len({found & 0xFFFFFFFF for found in keys}) < 100_000  # the mutant: 32 bits do collide
    assert max(keys) > 2**120


@pytest.mark.parametrize("part", [np.int64(3), np.float64(0.5), None, True, (1,)])
def test_other_types_are_refused(part: object) -> None:
    """Their text depends on the version of NumPy, or is not theirs alone."""
    with pytest.raises(TypeError, match="str, int or float"):
        key("seed", part)  # type: ignore[arg-type]
