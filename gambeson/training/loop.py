"""The steps of a run, from wherever the session stands to the end."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from gambeson.data.augment import augment
from gambeson.errors import RunError
from gambeson.keys import generator
from gambeson.records import read_lines
from gambeson.training import checkpoint, cost, metrics
from gambeson.training.distributed import slice_of, weighted_sum
from gambeson.training.plan import Plan
from gambeson.training.pool import Pool, batch
from gambeson.training.schedules import lr_factor, values
from gambeson.training.session import Session, pack
from gambeson.training.step import update
from gambeson.training.validation import accuracy

LOG_SECONDS = 0.5
AGREE_STEPS = 16  # several processes agree on checkpoints and interrupts this often


@dataclass(frozen=True)
class Progress:
    """Where a run stands; `loss` is this epoch's mean so far, `seconds_left` an estimate from this session's rate."""

    epoch: int
    epochs: int
    step: int
    steps: int
    lr: float
    loss: float
    images_per_second: float
    seconds_left: float
    validation_accuracy: float | None


@dataclass(frozen=True, eq=False)
class Road:
    """What does not change while training: plan, data, devices, where to write and whom to tell."""

    plan: Plan
    data: Pool
    validation: Pool | None
    fabric: Fabric
    dtype: torch.dtype
    memory: torch.memory_format
    run: Path | None
    on_progress: Callable[[Progress], None] | None

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.data) / self.plan.train.batch)


def run_steps(session: Session, road: Road, asked: threading.Event) -> list[dict[str, Any]]:
    """Train to the last step; returns the lines of metrics.jsonl. Writes checkpoints, and one more when interrupted."""
    plan, fabric, per_epoch = road.plan, road.fabric, road.steps_per_epoch
    total = plan.train.epochs * per_epoch
    log = None if road.run is None else road.run / "metrics.jsonl"
    lines = [] if log is None else list(read_lines(log))
    begun, first, before = time.monotonic(), session.step, session.seconds
    saved = told = begun
    order, of_epoch = torch.empty(0, dtype=torch.int64), -1

    def elapsed() -> float:
        return time.monotonic() - begun

    def tell(loss: float, validation: float | None) -> None:
        if road.on_progress is None or not fabric.is_global_zero:
            return
        rate = (session.step - first) / max(elapsed(), 1e-9)
        road.on_progress(
            Progress(
                epoch, plan.train.epochs, session.step, total, lr, loss, rate * len(road.data) / per_epoch,
                (total - session.step) / rate, validation,
            )
        )  # fmt: skip

    for player in session.players.values():
        player.train()
    while session.step < total:
        epoch, within = session.step // per_epoch + 1, session.step % per_epoch
        if epoch != of_epoch:
            order = torch.from_numpy(generator(plan.seed, "order", epoch).permutation(len(road.data)))
            of_epoch = epoch
        lr = take_step(session, road, order[within * plan.train.batch : (within + 1) * plan.train.batch])
        ended, now = session.step % per_epoch == 0, time.monotonic()
        if ended or now - told >= LOG_SECONDS:
            told = now
            loss = sum(epoch_means(session, fabric if ended else None).values())
            if not math.isfinite(loss):
                raise RunError(_diverged(session, road, loss))
            if not ended:
                tell(loss, None)
        if ended:
            session.seconds = before + elapsed()
            lines.append(end_of_epoch(session, road, epoch, lr, elapsed()))
            tell(lines[-1]["loss"], lines[-1]["validation_accuracy"])
            session.sums, session.images = {}, 0
            if log is not None and fabric.is_global_zero:
                metrics.append(log, lines[-1])
        due = now - saved >= plan.train.checkpoint_seconds
        stop, due = _agree(session.step, asked.is_set(), due, fabric)
        if road.run is not None and (ended or due or stop):
            session.seconds, saved = before + elapsed(), time.monotonic()
            session.peak_memory = max(session.peak_memory, cost.peak_memory(fabric.device))
            _save(session, road)
        if stop:
            raise KeyboardInterrupt
    session.peak_memory = max(session.peak_memory, cost.peak_memory(fabric.device))
    return lines


def take_step(session: Session, road: Road, rows: torch.Tensor) -> float:
    """One update of every player that has a loss, on the images `rows`; returns the learning rate."""
    plan, fabric = road.plan, road.fabric
    progress = session.step / (plan.train.epochs * road.steps_per_epoch)
    mine = slice_of(rows, fabric.global_rank, fabric.world_size)
    x, y = batch(road.data, mine, fabric.device, road.dtype, road.memory)
    if plan.augment.crop or plan.augment.flip:
        x = augment(x, crop=plan.augment.crop, flip=plan.augment.flip, generator=session.generator)
    method, lr = values(plan.method, progress), plan.optimizer.lr * lr_factor(plan.schedule, progress)
    for name, loss in plan.losses.items():
        for group in session.optimizers[name].param_groups:
            group["lr"] = lr
        terms, session.states[name] = update(
            name, session.players, session.optimizers[name], loss, x, y,
            state=session.states[name], generator=session.generator, method=method,
            share=len(mine) / len(rows), fabric=fabric,
        )  # fmt: skip
        for term, value in terms.items():
            label = term if len(plan.losses) == 1 else f"{name}/{term}"
            weighted = value.to(torch.float64) * len(mine)
            session.sums[label] = session.sums[label] + weighted if label in session.sums else weighted
    session.images += len(rows)
    session.step += 1
    return lr


def epoch_means(session: Session, fabric: Fabric | None) -> dict[str, float]:
    """The mean of every term over this epoch's images so far; over all ranks when `fabric` is given."""
    names = sorted(session.sums)
    sums = torch.stack([session.sums[name] for name in names])
    images = session.images
    if fabric is not None:
        (sums,) = weighted_sum([sums], 1.0, fabric)
    return dict(zip(names, (sums / images).tolist(), strict=True))


def end_of_epoch(session: Session, road: Road, epoch: int, lr: float, elapsed: float) -> dict[str, Any]:
    """The epoch's line for metrics.jsonl; remembers the best players when asked to."""
    terms, right = epoch_means(session, road.fabric), None
    if road.validation is not None:
        model = session.players.get("model", next(iter(session.players.values())))
        right = accuracy(model, road.validation, road.fabric, road.dtype, road.memory)
        if road.plan.train.keep == "best" and right > session.best.get("accuracy", -1.0):
            kept = {name: {k: v.clone() for k, v in p.state_dict().items()} for name, p in session.players.items()}
            session.best = {"accuracy": right, "epoch": epoch, "players": kept}
    return {
        "epoch": epoch,
        "step": session.step,
        "progress": epoch / road.plan.train.epochs,
        "lr": lr,
        "loss": sum(terms.values()),
        "terms": terms,
        "validation_accuracy": right,
        "seconds": session.seconds,
        "images_per_second": session.step / session.seconds * len(road.data) / road.steps_per_epoch,
    }


def _agree(step: int, stop: bool, due: bool, fabric: Fabric) -> tuple[bool, bool]:
    """Whether to stop and whether to write a checkpoint: the same answer on every rank."""
    if fabric.world_size == 1:
        return stop, due
    if step % AGREE_STEPS:
        return False, False
    wishes = torch.tensor([int(stop), int(due)], device=fabric.device)
    torch.distributed.all_reduce(wishes)
    return bool(wishes[0]), bool(wishes[1])


def _save(session: Session, road: Road) -> None:
    assert road.run is not None
    content = pack(session, road.fabric)
    if road.fabric.is_global_zero:
        checkpoint.save(road.run / "checkpoint.pt", content)


def _diverged(session: Session, road: Road, loss: float) -> str:
    kept = (
        ""
        if road.run is None
        else f" The last checkpoint in {road.run} is from before that; begin anew in another folder."
    )
    return (
        f"the loss became {loss} by step {session.step}: training has diverged. Lower optimizer.lr "
        f"(now {road.plan.optimizer.lr}), lengthen schedule.warmup, or lower the method's weight.{kept}"
    )
