"""The end of an epoch: means of the terms, accuracy on the validation images, the best players so far."""

from typing import TYPE_CHECKING, Any

import torch

from gambeson.training.distributed import weighted_sum
from gambeson.training.linearity import gamma
from gambeson.training.road import Road
from gambeson.training.session import Session
from gambeson.training.validation import accuracy

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def epoch_means(session: Session, fabric: "Fabric | None") -> dict[str, float]:
    """The mean of every term over this epoch's images so far, over all ranks if `fabric` is given, else this one."""
    names = sorted(session.sums)
    sums = torch.stack([session.sums[name] for name in names])
    images = torch.tensor(session.images, dtype=sums.dtype, device=sums.device)
    if fabric is not None:
        sums, images = weighted_sum([sums, images], 1.0, fabric)
    return dict(zip(names, (sums / images).tolist(), strict=True))


def end_of_epoch(session: Session, road: Road, epoch: int, lr: float) -> dict[str, Any]:
    """The epoch's line for metrics.jsonl; remembers the best players when asked to. `epoch` counts from 1."""
    terms, right, far, eps = epoch_means(session, road.fabric), None, None, road.plan.train.linearity
    if road.validation is not None:
        model = session.players.get("model", next(iter(session.players.values())))
        right = accuracy(model, road.validation, road.fabric, road.dtype, road.memory)
        if eps > 0:
            far = gamma(model, road.validation, eps, road.fabric, road.dtype, road.memory)
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
        "linearity": far,
    }
