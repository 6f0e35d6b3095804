"""A run folder that nothing is recorded in yet."""

from pathlib import Path

import pytest
from written import HEADER

from gambeson.records import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", HEADER)
