"""What a certification will take, told before it starts."""

import os
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from gambeson.cli.target import Target
    from gambeson.evaluation import Evaluation
    from gambeson.evaluation.pilot import Estimate


def tell_estimate(target: "Target", evaluation: "Evaluation", title: str, processes: int, name: str) -> None:
    """A pilot on what is left of the evaluation `name`, in a line; nothing where little is left."""
    done = {record["index"] for record in target.run.records(name)}
    rows = [row for row, index in enumerate(target.data.indices.tolist()) if index not in done]
    if found := evaluation.pilot(rows):
        adaptive = evaluation.settings["budget"] != "fixed"
        typer.echo(f"{title}: {in_words(found, processes, adaptive)}", err=True)


def in_words(found: "Estimate", processes: int = 1, adaptive: bool = True) -> str:
    """An estimate as one reads it; two digits are all that is known.

    >>> from gambeson.evaluation.pilot import Estimate
    >>> in_words(Estimate(images=500, draws=4_130, rate=33_333), processes=2)
    'about 4,100 draws an image (2.1 M in all), 33,000 draws/s in each of 2 processes: about 31 s'
    """
    each = f"about {_round(found.draws)}" if adaptive else f"{found.draws:,.0f}"
    rate = f"{_round(found.rate)} draws/s" + (f" in each of {processes} processes" if processes > 1 else "")
    total = f"{_round(found.images * found.draws)} in all"
    return f"{each} draws an image ({total}), {rate}: about {_time(found.seconds / processes)}"


def at_once(engine: str, workers: int | None, threads: int, device: str) -> int:
    """How many of the processes find a place to work: an estimate, for a cluster as many as are asked for."""
    if engine == "ray":
        return workers or 1
    if device == "cpu":
        places = (os.cpu_count() or 1) // threads
    else:
        import torch

        places = torch.cuda.device_count()
    return max(1, min(workers or 1, places))


def _round(value: float) -> str:
    """Two significant digits: 4,100 or 2.1 M."""
    value = float(f"{value:.2g}")
    return f"{value / 1e6:,.12g} M" if value >= 1e6 else f"{value:,.12g}"


def _time(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{float(f'{seconds / length:.2g}'):,.12g} {unit}"
    return f"{max(1, round(seconds))} s"
