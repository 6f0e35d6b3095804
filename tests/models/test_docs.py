"""The table in docs/models.md is the code's."""

import re
from pathlib import Path

import pytest
import torch

from gambeson import models

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
ROW = re.compile(r"^\| `(\w+)` \|[^|]*\| (\d+)x(\d+)x(\d+) \| ([\d,]+) \| (\d+)x\d+ \|([^|]*)\|$", re.MULTILINE)
ROWS = {row[0]: row[1:] for row in ROW.findall(PAGE.read_text())}


def test_every_architecture_is_listed() -> None:
    assert sorted(ROWS) == models.names()


@pytest.mark.parametrize("name", models.names())
def test_row(name: str) -> None:
    *shape, count, smallest, options = ROWS[name]
    channels, height, width = map(int, shape)
    with torch.device("meta"):
        net = getattr(models, name)(classes=10, shape=(channels, height, width))
        getattr(models, name)(classes=10, shape=(1, int(smallest), int(smallest)))
        with pytest.raises(models.UserError, match=f"at least {smallest}x{smallest}"):
            getattr(models, name)(classes=10, shape=(1, int(smallest) - 1, int(smallest)))
    assert sum(parameter.numel() for parameter in net.parameters()) == int(count.replace(",", ""))
    assert set(re.findall(r"`(\w+)`", options)) == set(models.options(name)) - {"activation"}


def test_every_flag_is_explained() -> None:
    folder = Path(models.__file__).parent
    code = "".join((folder / name).read_text() for name in ("given.py", "behaviour.py", "guards.py", "iterates.py"))
    raised = set(re.findall(r'(?:refuse|doubt)\(\s*"(\w+)"', code))
    listed = set(re.findall(r"^\| `(\w+)` \| (?:refuse|doubt) \|", PAGE.read_text(), re.MULTILINE))
    assert raised == listed
