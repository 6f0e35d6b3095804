"""Where the numbers come from: model, data, seeds, versions and commands."""

from collections.abc import Sequence

from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.series import Source
from gambeson.reports.tables import Column, Table


def provenance(sources: Sequence[Source]) -> Section | None:
    """One row per source, and the commands in the order in which they were first run."""
    columns = [
        *(Column("source"), Column("kind"), Column("method"), Column("method settings"), Column("model")),
        *(Column("seed", "count"), Column("model hash"), Column("data hash"), Column("device"), Column("trained with")),
        Column("commands"),
    ]
    rows = []
    for source in sources:
        header = source.header
        rows.append(
            [
                source.name,
                source.kind,
                source.method,
                _pairs(header.get("method_settings")),
                header.get("model"),
                header.get("seed"),
                _short(header.get("model_hash")),
                _short(header.get("data_hash")),
                header.get("device"),
                _pairs(header.get("versions")),
                "; ".join(source.commands) or None,
            ]
        )
    table = Table(columns, rows)
    return Section(
        "provenance", "Where the numbers come from", [], [Exhibit("provenance", "Sources of this report.", table)]
    )


def _pairs(values: dict[str, object] | None) -> str | None:
    return ", ".join(f"{name} {value}" for name, value in values.items()) if values else None


def _short(text: str | None) -> str | None:
    return text[:12] if text else None
