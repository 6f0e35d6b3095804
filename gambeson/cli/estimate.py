"""What a certification will take, told before it starts."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from gambeson.cli.target import Target
    from gambeson.evaluation import Evaluation
    from gambeson.evaluation.pilot import Estimate


def what_is_left(target: "Target", evaluation: "Evaluation", name: str) -> "Estimate | None":
    """A pilot on what is left of the evaluation `name`; None where that is little."""
    from gambeson.partial import Partial

    done = {record["index"] for record in target.run.records(name)}
    found = evaluation.pilot([row for row, index in enumerate(target.data.indices.tolist()) if index not in done])
    if found is None:
        return None
    counted = {
        (image["index"], image["stage"], image["first"]): image["draws"]
        for one in Partial(target.run.path / "partial.jsonl", name).read()
        for image in one["images"]
        if image["index"] not in done
    }
    return replace(found, made=sum(counted.values()))


def tell_effort(target: "Target", evaluations: "Sequence[Evaluation]") -> None:
    """Says about how long what is left of these evaluations will take, together, where that is worth a word."""
    from gambeson.records import evaluation_id
    from gambeson.schema import check_settings

    done, total = defaultdict(set), 0.0
    for record in target.run.records():
        done[record["evaluation"]].add(record["index"])
    for evaluation in evaluations:
        name = evaluation_id(evaluation.kind, check_settings(evaluation.kind, evaluation.settings), target.describe())
        rows = [row for row, index in enumerate(target.data.indices.tolist()) if index not in done[name]]
        found = evaluation.effort(rows) if rows else None
        total += found.seconds if found else 0.0
    if total > 10:
        typer.echo(f"about {_time(total)} if all images hold out: what falls early takes less", err=True)


def in_words(found: "Estimate", processes: int = 1, adaptive: bool = True) -> str:
    """An estimate as one reads it; two digits are all that is known.

    >>> from gambeson.evaluation.pilot import Estimate
    >>> in_words(Estimate(images=500, draws=4_130, rate=33_333), processes=2)
    'about 4,100 draws an image (2.1 M in all), 33,000 draws/s in each of 2 processes: about 31 s'
    """
    each = f"about {_round(found.draws)}" if adaptive else f"{found.draws:,.0f}"
    rate = f"{_round(found.rate)} draws/s" + (f" in each of {processes} processes" if processes > 1 else "")
    total = f"{_round(found.images * found.draws)} in all"
    made = f", {_round(found.made)} of them made" * (found.made > 0)
    return f"{each} draws an image ({total}{made}), {rate}: about {_time(found.seconds / processes)}"


def _round(value: float) -> str:
    """Two significant digits: 4,100 or 2.1 M."""
    value = float(f"{value:.2g}")
    return f"{value / 1e6:,.12g} M" if value >= 1e6 else f"{value:,.12g}"


def _time(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{float(f'{seconds / length:.2g}'):,.12g} {unit}"
    return f"{max(1, round(seconds))} s"
