"""The run folder: taken over at the start, completed at the end."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from gambeson import models
from gambeson.errors import UserError
from gambeson.jsonl import read_json, write_json
from gambeson.training import checkpoint, metrics
from gambeson.training.plan import require_same
from gambeson.training.ratio import measure
from gambeson.training.road import Road
from gambeson.training.session import Session, pack, unpack


@contextmanager
def alone(road: Road) -> Iterator[None]:
    """One training at a time in a run folder; a second is refused, where the file system can tell."""
    if road.run is None:
        yield
        return
    road.run.mkdir(parents=True, exist_ok=True)
    folder = os.open(road.run, os.O_RDONLY)
    try:
        if road.fabric.broadcast(road.fabric.is_global_zero and _taken(folder)):
            raise UserError(f"another process is training in {road.run}; wait for it or stop it")
        yield
    finally:
        os.close(folder)


def _taken(folder: int) -> bool:
    """Whether another process has it; from now on this one has, until it closes it, however it ends."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no locks here
        return False
    return False


def resume(session: Session, road: Road) -> None:
    """Take over a checkpoint, or write the first one."""
    if road.run is None:
        return
    path = road.run / "checkpoint.pt"
    content = checkpoint.load(path)
    if content is None and (road.run / "model.safetensors").exists():
        raise UserError(f"{road.run} holds a trained model and no checkpoint; choose another folder, or delete it")
    if content is None:
        content = pack(session, road.fabric)
        if road.fabric.is_global_zero:
            checkpoint.save(path, content)
    else:
        require_same(content["identity"], session.identity, str(path))
        unpack(content, session, road.fabric)
    if road.fabric.is_global_zero:
        metrics.cut_back(road.run / "metrics.jsonl", session.step)
    road.fabric.barrier()


def finish(session: Session, road: Road) -> dict[str, Any]:
    """Write the weights, then the cost: a folder with cost.json is a finished run."""
    run, fabric = road.run, road.fabric
    finished = run is not None and (run / "cost.json").exists() and (run / "model.safetensors").exists()
    fabric.barrier()  # before anyone writes: all ranks give the same answer
    if run is not None and finished:
        return dict(read_json(run / "cost.json"))
    if run is not None and fabric.is_global_zero:
        for name, player in session.players.items():
            models.save(player, run / f"{name}.safetensors", {"training": session.identity})
    counts = asdict(session.counts)
    spent = {"train_seconds": session.seconds, **counts, "peak_memory_bytes": session.peak_memory,
             "ratio_to_plain": measure(session, road), "ratio_steps": road.plan.train.ratio_steps}  # fmt: skip
    if run is not None and fabric.is_global_zero:
        write_json(run / "cost.json", spent)
    fabric.barrier()
    return spent
