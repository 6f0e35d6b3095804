"""Rounding against ourselves."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from gambeson.reports.numbers import down, near, significant_down, up


@given(st.floats(0, 1e6))
def test_down_and_up_enclose(value):
    assert Decimal(down(value)) <= Decimal(value) <= Decimal(up(value))
    assert Decimal(up(value)) - Decimal(down(value)) <= Decimal("0.001")


def test_the_rows_that_other_code_rounds_up():
    assert (down(0.99951), down(0.97962, 2)) == ("0.999", "0.97")
    assert near(0.6996) == "0.700"


@given(st.floats(1e-300, 1e300))
def test_seventeen_digits_never_exceed_and_read_back_to_the_same_or_the_next_lower_float(value):
    text = significant_down(value)
    assert Decimal(text) <= Decimal(value)
    assert float(text) <= value
    assert float(text) >= value * (1 - 3e-16)
    assert len(text.replace(".", "").strip("0")) <= 17
