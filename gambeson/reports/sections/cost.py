"""What training and certification cost."""

from collections.abc import Sequence

from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.grouping import data_name, natural
from gambeson.reports.naming import headlines
from gambeson.reports.series import Source
from gambeson.reports.tables import Column, Table

MIB = 2**20


def cost(sources: Sequence[Source]) -> Section | None:
    """Training from cost.json, certification from the records' seconds."""
    exhibits = [exhibit for exhibit in (_training(sources), _certification(sources)) if exhibit is not None]
    if not exhibits:
        return None
    text = [
        "Seconds are those of the machine and of what else it did; they compare only on the same, quiet machine. "
        "Passes do not depend on it. The ratio is to plain training of the same model, measured in interleaved steps "
        "of the same run.",
    ]
    return Section("cost", "Cost", text, exhibits)


def _training(sources: Sequence[Source]) -> Exhibit | None:
    columns = [
        *(Column("run"), Column("method"), Column("model"), Column("device"), Column("threads", "count")),
        *(Column("training (s)", "seconds"), Column("forward passes", "count"), Column("backward passes", "count")),
        *(Column("double-backward passes", "count"), Column("examples forward", "count")),
        *(Column("peak memory (MiB)", "seconds"), Column("time relative to plain", "setting")),
        *(Column("steps measured", "count"), Column("natural accuracy (base, no noise)", "share")),
    ]
    rows = []
    for source in sources:
        spent = source.cost
        if spent is not None:
            memory, ratio = spent.get("peak_memory_bytes"), spent.get("ratio_to_plain")
            passes = [spent.get(f"{kind}_passes") for kind in ("forward", "backward", "double_backward")]
            rows.append(
                [
                    source.name,
                    source.method,
                    *(source.header.get(name) for name in ("model", "device", "threads")),
                    spent.get("train_seconds"),
                    *passes,
                    spent.get("examples_forward"),
                    None if memory is None else memory / MIB,
                    None if ratio is None else float(f"{ratio:.3g}"),
                    spent.get("ratio_steps"),
                    natural(source),
                ]
            )
    return Exhibit("cost-training", "Cost of training.", Table(columns, rows)) if rows else None


def _certification(sources: Sequence[Source]) -> Exhibit | None:
    columns = [
        *(Column("run"), Column("images", "count"), Column("data"), Column("model"), Column("noise"), Column("device")),
        *(
            Column("draws per image (n0 + n)", "count"),
            Column("total (s)", "seconds"),
            Column("per image (s)", "setting"),
        ),
        *(Column("draws per second", "count"), Column("natural accuracy (base, no noise)", "share")),
    ]
    rows = []
    for source in sources:
        for series in headlines(source):
            seconds, total = float(series.seconds.sum()), series.images.total
            known = series.draws is not None and series.select_draws is not None
            draws = series.draws + series.select_draws if known else None  # type: ignore[operator]
            rate = None if draws is None or seconds == 0 else round(draws * total / seconds)
            rows.append(
                [
                    source.name,
                    total,
                    data_name(source, series.images),
                    source.header.get("model"),
                    series.noise,
                    source.header.get("device"),
                    draws,
                    seconds,
                    float(f"{seconds / total:.3g}"),
                    rate,
                    natural(source, series.images),
                ]
            )
    return Exhibit("cost-certification", "Cost of certification.", Table(columns, rows)) if rows else None
