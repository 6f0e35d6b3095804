"""The steps of a run, from wherever the session stands to the end."""

import math
import time
from typing import TYPE_CHECKING, Any

import torch

from gambeson.errors import RunError
from gambeson.interrupt import Stop
from gambeson.jsonl import read_lines
from gambeson.keys import generator
from gambeson.training import checkpoint, cost, metrics
from gambeson.training.epoch import end_of_epoch, epoch_means
from gambeson.training.road import Progress, Road
from gambeson.training.session import Session, pack
from gambeson.training.step import take_step

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LOG_SECONDS = 0.5  # between two looks at the loss: on a GPU every look waits for the device
AGREE_STEPS = 16  # several processes agree on checkpoints and interrupts this often


def run_steps(session: Session, road: Road, signal: Stop) -> list[dict[str, Any]]:
    """Train to the last step; returns the lines of metrics.jsonl. Writes checkpoints, and one more when interrupted."""
    fabric, per_epoch, size = road.fabric, road.steps_per_epoch, road.plan.train.batch
    log = None if road.run is None else road.run / "metrics.jsonl"
    lines = [] if log is None else list(read_lines(log))
    begun, first, before = time.monotonic(), session.step, session.seconds
    saved = told = begun
    order, of_epoch = torch.empty(0, dtype=torch.int64), 0
    for player in session.players.values():
        player.train()
    while session.step < road.steps:
        epoch, within = session.step // per_epoch + 1, session.step % per_epoch
        if epoch != of_epoch:
            order, of_epoch = (
                torch.from_numpy(generator(road.plan.seed, "order", epoch).permutation(len(road.data))),
                epoch,
            )
        lr = take_step(session, road, order[within * size : (within + 1) * size])
        ended, now = session.step % per_epoch == 0, time.monotonic()
        stop, due = _agree(session.step, signal.asked(), now - saved >= road.plan.train.checkpoint_seconds, fabric)
        if ended or due or stop or now - told >= LOG_SECONDS:
            loss, told = sum(epoch_means(session, fabric if ended else None).values()), now
            if not math.isfinite(loss):
                raise RunError(_diverged(session, road, loss))
            line = end_of_epoch(session, road, epoch, lr) if ended else {"loss": loss, "lr": lr}
            session.seconds = before + time.monotonic() - begun
            speed = (session.step - first) / (time.monotonic() - begun)  # steps a second
            _tell(session, road, epoch, line, speed)
        if ended:
            line |= {"seconds": session.seconds, "images_per_second": speed * len(road.data) / per_epoch}
            lines.append(line)
            session.sums, session.images = {}, 0
            if log is not None and fabric.is_global_zero:
                metrics.append(log, line)
        if road.run is not None and (ended or due or stop):
            session.seconds, saved = before + time.monotonic() - begun, time.monotonic()
            session.peak_memory = max(session.peak_memory, cost.peak_memory(fabric.device))
            content = pack(session, fabric)
            if fabric.is_global_zero:
                checkpoint.save(road.run / "checkpoint.pt", content)
        if stop:
            signal.obey()
            raise KeyboardInterrupt  # another process was asked
    session.peak_memory = max(session.peak_memory, cost.peak_memory(fabric.device))
    return lines


def _tell(session: Session, road: Road, epoch: int, line: dict[str, Any], speed: float) -> None:
    if road.on_progress is None or not road.fabric.is_global_zero:
        return
    road.on_progress(
        Progress(
            epoch=epoch,
            epochs=road.plan.train.epochs,
            step=session.step,
            steps=road.steps,
            lr=line["lr"],
            loss=line["loss"],
            images_per_second=speed * len(road.data) / road.steps_per_epoch,
            seconds_left=(road.steps - session.step) / speed,
            validation_accuracy=line.get("validation_accuracy"),
        )
    )


def _agree(step: int, stop: bool, due: bool, fabric: "Fabric") -> tuple[bool, bool]:
    """Whether to stop and whether to write a checkpoint: the same answer on every rank."""
    if fabric.world_size == 1:
        return stop, due
    if step % AGREE_STEPS:
        return False, False
    wishes = torch.tensor([int(stop), int(due)], device=fabric.device)
    torch.distributed.all_reduce(wishes)
    return bool(wishes[0]), bool(wishes[1])


def _diverged(session: Session, road: Road, loss: float) -> str:
    kept = f" {road.run} keeps the last checkpoint; begin anew in another folder." if road.run else ""
    return (
        f"the loss became {loss} by step {session.step} of {road.steps}: training has diverged. Lower optimizer.lr "
        f"(now {road.plan.optimizer.lr}), lengthen schedule.warmup, or lower the method's weight.{kept}"
    )
