"""Keys: every part counts, no two encodings collide, and streams are those of their key's full 128 bits."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gambeson.keys import generator, key, stream

PARTS = st.lists(st.one_of(st.integers(), st.text(max_size=6), st.floats(allow_nan=False)), max_size=5)
BASE = (0, "certify", "gaussian:0.5", 17, "estimate", 3)


def test_known_value() -> None:
    """Another machine or version must find the same noise: a change here makes every published run irreproducible."""
    assert key(0, "certify", "gaussian:0.5", 17, "select", 0) == 0xFFEA0573B136363A8B3DBCDE09D8816
    assert generator("pinned", 1).integers(0, 2**63, 2).tolist() == [4816228310291033750, 5985483869658642596]
    assert stream("pinned", 1).integers(0, 2**63, 2).tolist() == [6107786023648201995, 2745324262773876682]


def test_noise_is_sfc64_as_published() -> None:
    """Doty-Humphrey's generator in exact integers, from the state in which NumPy hands it over."""
    source, mask = stream("pinned", 1), 2**64 - 1
    a, b, c, counter = source.bit_generator.state["state"]["state"].tolist()
    assert counter == 1 + 12  # twelve steps mix the seed
    for drawn in source.integers(0, 2**64, 1000, dtype=np.uint64).tolist():
        word = (a + b + counter) & mask
        a, b, c = b ^ (b >> 11), (c + (c << 3)) & mask, (((c << 24) | (c >> 40)) + word) & mask
        counter += 1
        assert drawn == word


def test_all_128_bits_of_a_key_reach_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = set()
    for bit in range(128):
        monkeypatch.setattr("gambeson.keys.key", lambda *_, bit=bit: 1 << bit)
        starts.add(tuple(stream().bit_generator.state["state"]["state"][:3].tolist()))
    assert len(starts) == 128


@pytest.mark.parametrize("position", range(len(BASE)))
def test_a_change_in_any_part_gives_another_stream(position: int) -> None:
    changed = list(BASE)
    changed[position] = {str: "other", int: 99}[type(BASE[position])]
    for source in (generator, stream):
        first, second = (source(*parts).integers(0, 2**63, 1000) for parts in (BASE, changed))
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
