"""What the tests of the smoothed classifier share."""

import pytest

from gambeson.certificates import applicable
from gambeson.smoothed import hard


@pytest.fixture
def tight_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tight certificate alone: the others cost more than the draws here."""
    monkeypatch.setattr(hard, "applicable", lambda kind: applicable(kind)[:1])
