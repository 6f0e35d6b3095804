"""From paths to sources: run folders and logs, told apart by what they hold."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gambeson.errors import UserError
from gambeson.reports.logs import COLUMNS, is_log, read_log
from gambeson.reports.runs import read_run
from gambeson.reports.series import Source


def read(paths: Sequence[Path]) -> list[Source]:
    """One `Source` per path, in the given order, with unique names (the parent folder is put before a doubled one)."""
    if not paths:
        raise UserError("nothing to report on; name at least one run folder or per-image log")
    sources = [_read_one(Path(path)) for path in paths]
    place, times = Counter(source.path.resolve() for source in sources).most_common(1)[0]
    if times > 1:
        raise UserError(f"{place} is named {times} times; name each source once")
    counts = Counter(source.name for source in sources)
    sources = [_longer(source) if counts[source.name] > 1 else source for source in sources]
    name, times = Counter(source.name for source in sources).most_common(1)[0]
    if times > 1:
        raise UserError(f"{times} sources are called {name!r}; rename one of them, so that figures can tell them apart")
    return sources


def _longer(source: Source) -> Source:
    return replace(source, name=f"{source.path.resolve().parent.name}/{source.name}")


def _read_one(path: Path) -> Source:
    if path.is_dir():
        if not (path / "header.json").exists():
            raise UserError(f"{path} is not a run folder: it has no header.json; name a run, or a per-image log file")
        return read_run(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; name a run folder or a per-image log file")
    if not is_log(path):
        columns = " ".join(COLUMNS)
        raise UserError(f"{path} is neither a run folder nor a log: its first line lacks the tab-separated {columns}")
    return read_log(path)
