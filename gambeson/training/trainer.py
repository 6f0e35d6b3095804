"""`train`: any module, any images, one loss function; resumes after a kill to the same weights."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.interrupt import deferred
from gambeson.losses import Loss
from gambeson.training.distributed import same_everywhere, start
from gambeson.training.fit import require_fit
from gambeson.training.folder import alone, finish, resume
from gambeson.training.loop import run_steps
from gambeson.training.plan import identity as make_identity
from gambeson.training.plan import make_plan
from gambeson.training.players import Players, as_losses, as_players, make_optimizer
from gambeson.training.pool import place, pool
from gambeson.training.road import Progress, Road
from gambeson.training.session import Session, seed_global, seeded


@dataclass(frozen=True, eq=False)
class TrainResult:
    """The trained model (player "model", or the first), all players, the lines of metrics.jsonl, cost.json's fields.

    `rank` is this process's number: with several devices, only rank 0 has anything to write or to print.
    """

    model: nn.Module
    players: Mapping[str, nn.Module]
    metrics: list[dict[str, Any]]
    cost: dict[str, Any]
    rank: int = 0


def train(
    model: nn.Module | Players,
    data: Dataset | Iterable[Any],
    *,
    loss: str | Loss | Mapping[str, Loss] = "plain",
    method: Mapping[str, Any] | None = None,
    validation: Dataset | Iterable[Any] | None = None,
    optimizer: Mapping[str, Any] | None = None,
    schedule: Mapping[str, Any] | None = None,
    augment: Mapping[str, Any] | None = None,
    seed: int = 0,
    run: str | Path | None = None,
    device: str = "auto",
    devices: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
    identity: Mapping[str, Any] | None = None,
    **settings: Any,
) -> TrainResult:
    """Train `model` in place: minimise the sum of the loss's terms by minibatch gradient steps.

    Args:
        model: an nn.Module (images (N, C, H, W) in [0, 1] -> logits (N, K)), or several by name.
        data: a Dataset, or an iterable of (image, label) or (images, labels) pairs; it is gathered into memory.
        loss: a name from `gambeson.losses`, a function of the same shape, or one per player (updated in that order).
        method: the loss's keys, e.g. {"sigma": 0.5}; {"from": 0, "to": 2, "until": 0.3} is a schedule over progress.
        validation: images for the accuracy after each epoch; never the test set.
        optimizer, schedule, augment: a recipe's sections, e.g. {"name": "sgd", "lr": 0.1}.
        seed: order of the images, noise, augmentation, dropout. The initial weights are the caller's.
        run: folder for checkpoint.pt, metrics.jsonl, model.safetensors and cost.json; a run in it is resumed.
        device, devices: auto, cpu or cuda, and how many processes share each batch.
        on_progress: called about twice a second, and after every epoch.
        identity: what a resumed run must agree on (default: all settings above).
        settings: `[train]` of a recipe: epochs, batch, precision, channels_last, keep, checkpoint_seconds, ratio_steps.
    Returns:
        TrainResult. The module has its training flags back, and is on the device, in the precision, it was trained in.
    Raises:
        UserError: settings, data or a folder that do not fit. RunError: the loss is not finite any more.
        KeyboardInterrupt: after Ctrl-C; the checkpoint has been written.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> result = train(model, [(torch.rand(8, 1, 2, 2), torch.arange(8) % 2)], epochs=2, batch=4, ratio_steps=0)
    >>> result.metrics[-1]["step"]
    4
    """
    players = as_players(model)
    plan = make_plan(as_losses(loss, players, method or {}), method, optimizer, schedule, augment, settings, seed)
    if plan.train.keep == "best" and validation is None:
        raise UserError("train.keep is 'best', which needs validation images; set data.validation, or keep = 'last'")
    if plan.train.linearity > 0 and validation is None:
        raise UserError(
            f"train.linearity is {plan.train.linearity}, which needs validation images: set data.validation"
        )
    train_pool, validation_pool = pool(data), None if validation is None else pool(validation)
    fabric = start(device, devices, plan.train.precision)
    if len(train_pool) < fabric.world_size or plan.train.batch < fabric.world_size:
        raise UserError(f"{fabric.world_size} processes cannot share batches of {plan.train.batch} images; use fewer")
    modes = [(module, module.training) for player in players.values() for module in player.modules()]
    dtype = torch.float64 if plan.train.precision == "64-true" else torch.float32
    memory = torch.channels_last if plan.train.channels_last else torch.contiguous_format
    for player in players.values():
        player.to(device=fabric.device, dtype=dtype).to(memory_format=memory)  # type: ignore[call-overload]
        same_everywhere([*player.parameters(), *player.buffers()], fabric)
    train_pool = place(train_pool, fabric.device)
    validation_pool = None if validation_pool is None else place(validation_pool, fabric.device)
    folder = None if run is None else Path(run)
    road = Road(plan, train_pool, validation_pool, fabric, dtype, memory, folder, on_progress)
    require_fit(players, road)
    session = Session(
        players,
        {name: make_optimizer(plan.optimizer, players[name]) for name in plan.losses},
        {name: {} for name in plan.losses},
        seeded(seed, "training noise", fabric.global_rank, fabric.device),
        make_identity(plan, train_pool.fingerprint, identity),
    )
    cuda = [fabric.device] if fabric.device.type == "cuda" else []
    try:
        with alone(road), torch.random.fork_rng(cuda):
            seed_global(seed, fabric.global_rank, fabric.device)
            resume(session, road)
            with deferred() as signal:
                lines = run_steps(session, road, signal)
            signal.obey()  # it came too late for a step to notice
            if plan.train.keep == "best":
                for name, player in players.items():
                    player.load_state_dict(session.best["players"][name])
            spent = finish(session, road)
    finally:
        for module, training in modes:
            module.training = training
    return TrainResult(players.get("model", next(iter(players.values()))), players, lines, spent, fabric.global_rank)
