"""What a certification says when it ends."""

from typing import Any

import pytest

from gambeson.cli.outcome import tell_certified


def record(radius: float, undecided: tuple[float, ...] = (), **more: Any) -> dict[str, Any]:
    return {"label": 1, "selected": 1, "radii": {"gaussian_l2": radius}, "undecided": list(undecided), **more}


def told(capsys: pytest.CaptureFixture[str], *given: Any) -> str:
    tell_certified(*given)
    return capsys.readouterr().out.splitlines()[0]


def test_radius_0_is_reached_by_radii_above_it(capsys: pytest.CaptureFixture[str]) -> None:
    """As in reports: an image whose bound says nothing is not certified, right as its class may be."""
    found = [record(0.5), record(0.0), record(0.0), record(1.0)]
    assert told(capsys, found, "noise", [0.0, 0.5, 0.75]).endswith("0: 0.500  0.5: 0.500  0.75: 0.250")


def test_an_exact_certificate_holds_at_the_image_itself(capsys: pytest.CaptureFixture[str]) -> None:
    found = [record(0.5), record(0.0, radius_kind="exact")]
    assert told(capsys, found, "noise", [0.0, 0.5]).endswith("0: 1.000  0.5: 0.500")


def test_ranges_are_rounded_outwards(capsys: pytest.CaptureFixture[str]) -> None:
    """2/3 and 5/6 lie between three digits."""
    found = [record(1.0)] * 8 + [record(0.0, (1.0,))] * 2 + [record(0.0)] * 2
    assert told(capsys, found, "noise", [1.0], 0.01).endswith("1: 0.666 to 0.834")
