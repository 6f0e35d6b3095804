"""Partial counts on disk: read as they were kept, torn as a whole, gone with their evaluation."""

from pathlib import Path
from typing import Any

import pytest

from gambeson import partial
from gambeson.errors import RunError, UserError
from gambeson.partial import Partial


def counted(so_far: int, **changed: Any) -> dict[str, Any]:
    image = {"index": 7, "stage": "estimate", "first": 0, "seconds": 0.5, "draws": so_far, "counts": [so_far - 1, 0]}
    return {"images": [{**image, **changed}]}


@pytest.fixture
def mine(tmp_path: Path) -> Partial:
    return Partial(tmp_path / "partial.jsonl", "certified-1")


def test_what_is_kept_is_read_and_goes_when_it_is_done(mine: Partial) -> None:
    other = Partial(mine.path, "certified-2")
    assert list(mine.read()) == []
    mine.keep(counted(100))
    other.keep(counted(50))
    mine.keep(counted(300))
    assert list(mine.read()) == [{"evaluation": "certified-1", **counted(draws)} for draws in (100, 300)]
    mine.forget()
    assert list(mine.read()) == []
    assert list(other.read()) == [{"evaluation": "certified-2", **counted(50)}]
    other.forget()
    assert list(mine.path.parent.iterdir()) == []
    other.forget()


@pytest.mark.parametrize("cut", [1, 20, 90])
def test_a_torn_line_is_dropped_and_written_over(mine: Partial, cut: int) -> None:
    mine.keep(counted(100))
    mine.keep(counted(300))
    mine.path.write_bytes(mine.path.read_bytes()[:-cut])
    assert [line["images"][0]["draws"] for line in mine.read()] == [100]
    mine.keep(counted(400))
    assert [line["images"][0]["draws"] for line in mine.read()] == [100, 400]


@pytest.mark.parametrize(
    "changed",
    [
        {"counts": [101, 0]},
        {"counts": [-1, 0]},
        {"counts": None},
        {"draws": 0},
        {"first": -1},
        {"stage": None},
        {"more": 1},
    ],
    ids=str,
)
def test_what_is_no_count_is_refused_on_both_ways(mine: Partial, changed: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="partial counts cannot be written: field"):
        mine.keep(counted(100, **changed))
    mine.keep(counted(100))
    line = partial.as_line({"evaluation": "certified-1", **counted(100, **changed)})
    mine.path.write_text(mine.path.read_text() + line)
    with pytest.raises(UserError, match=r"partial\.jsonl, line 2: field 'images\.0.*remove the line and run again"):
        list(mine.read())


def test_a_full_disk_keeps_what_was_there(mine: Partial, monkeypatch: pytest.MonkeyPatch) -> None:
    mine.keep(counted(100))

    def full(file: Any, line: bytes) -> None:
        file.write(line[:9])
        raise RunError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(partial, "append", full)
        with pytest.raises(RunError, match="No space"):
            mine.keep(counted(300))
    mine.keep(counted(400))
    assert [line["images"][0]["draws"] for line in mine.read()] == [100, 400]
