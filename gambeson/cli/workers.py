"""Where a certification runs: this process, several of this machine, or a Ray cluster."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from gambeson.cli.options import most_workers
from gambeson.errors import UserError

if TYPE_CHECKING:
    from gambeson.engines import Engine, Judge, Judged, Take
    from gambeson.engines.local import Local
    from gambeson.evaluation.pilot import Estimate
    from gambeson.types import Classifier


def check_engine(name: str, workers: int | None, ray_address: str | None) -> None:
    if name not in ("local", "ray"):
        raise UserError(f"--engine is {name!r}; it must be local or ray")
    if workers is not None and (workers < 1 or (name == "local" and workers > most_workers())):
        raise UserError(f"--workers is {workers}; it must be 1 to {most_workers()} on this machine")
    if ray_address is not None and name != "ray":
        raise UserError(f"--ray-address {ray_address} goes with --engine ray")


def others(name: str, workers: int | None, model: "Classifier") -> bool | None:
    """Whether other processes share the work; None: where it pays."""
    if name == "ray" or workers is not None:
        return name == "ray" or workers != 1
    from gambeson.engines import parcel

    try:
        parcel(model)
    except UserError:
        return False
    return None


def can_begin(name: str, workers: int | None, ray_address: str | None, model: "Classifier") -> None:
    """Refuses what no other process could be asked for, before anything is begun."""
    if name == "ray":
        from gambeson.engines.ray_cluster import reachable

        reachable(ray_address)
    if name == "ray" or (workers or 1) > 1:
        from gambeson.engines import parcel

        parcel(model)


def processes(name: str, workers: int | None, form: dict[str, Any], estimate: "Estimate | None") -> int:
    """How many processes there will be: as many as were asked for, else as find a place where the work is worth it. Of
    a cluster's room nothing is known.
    """
    if workers is not None or name == "ray":
        if name == "local" and form["device"] == "cpu" and 1 < (workers or 1) > (room := places(form)):
            another = " or --threads 1 (another inference form, another certificate)" * (form["threads"] > 1)
            typer.echo(
                f"{workers} workers of {form['threads']} threads have fewer cores than that and wait for one another: "
                f"--workers {room}{another} is likely to be faster",
                err=True,
            )
        return workers or 1
    from gambeson.inference.trial import PROCESSES_FROM

    return places(form) if estimate is not None and estimate.seconds > PROCESSES_FROM else 1


def places(form: dict[str, Any]) -> int:
    """How many processes of this form this machine has cores or GPUs for."""
    from gambeson.machine import cores, gpus_of_one_kind

    return max(1, cores() // form["threads"] if form["device"] == "cpu" else len(gpus_of_one_kind()))


def engine_for(name: str, workers: int | None, ray_address: str | None, form: dict[str, Any], count: int) -> "Engine":
    """`count`: of `processes`."""
    from gambeson.engines import here
    from gambeson.engines.local import Local
    from gambeson.engines.ray_cluster import RayCluster
    from gambeson.inference import Form

    if name == "ray":
        return RayCluster(Form(**form), ray_address, workers)
    if count == 1:
        return here
    several = Local(count, device=form["device"])
    return several if workers is not None else partial(_if_it_can_be_sent, several)


def _if_it_can_be_sent(several: "Local", judge: "Judge", take: "Take") -> "Iterable[Judged]":
    """Nobody asked for other processes: a model that cannot be sent to them is no reason to stop."""
    from gambeson.engines import here, parcel

    try:
        parcel(judge)
    except UserError as error:
        typer.echo(f"one process instead of {several.workers}: {error}", err=True)
        return here(judge, take)
    return several(judge, take)
