"""One step: a batch, the numbers of all schedules at this progress, one update of every player that has a loss."""

import torch

from gambeson.data.augment import augment
from gambeson.training.cost import counting
from gambeson.training.distributed import slice_of
from gambeson.training.pool import batch
from gambeson.training.road import Road
from gambeson.training.schedules import lr_factor, values
from gambeson.training.session import Session
from gambeson.training.update import update


def take_step(session: Session, road: Road, rows: torch.Tensor) -> float:
    """Train on the images `rows` (the whole batch; each rank takes its slice); returns the learning rate."""
    plan, fabric = road.plan, road.fabric
    progress = session.step / road.steps
    mine = slice_of(rows, fabric.global_rank, fabric.world_size)
    x, y = batch(road.data, mine, fabric.device, road.dtype, road.memory)
    if plan.augment.crop or plan.augment.flip:
        x = augment(x, crop=plan.augment.crop, flip=plan.augment.flip, generator=session.generator)
    method, lr = values(plan.method, progress), plan.optimizer.lr * lr_factor(plan.schedule, progress)
    for name, loss in plan.losses.items():
        for group in session.optimizers[name].param_groups:
            group["lr"] = lr
        with counting(session.players, session.counts):
            terms, session.states[name] = update(
                name,
                session.players,
                session.optimizers[name],
                loss,
                x,
                y,
                state=session.states[name],
                generator=session.generator,
                method=method,
                share=len(mine) / len(rows),
                fabric=fabric,
            )
        for term, value in terms.items():
            label = term if len(plan.losses) == 1 else f"{name}/{term}"
            weighted = value.double() * len(mine)
            session.sums[label] = session.sums[label] + weighted if label in session.sums else weighted
    session.images += len(mine)
    session.step += 1
    return lr
