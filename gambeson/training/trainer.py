"""`train`: any module, any images, one loss function; resumes after a kill to the same weights."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gambeson import models
from gambeson.data import Dataset
from gambeson.errors import UserError
from gambeson.keys import key
from gambeson.losses import Loss
from gambeson.records import read_json, write_json
from gambeson.training import checkpoint, metrics
from gambeson.training.distributed import same_everywhere, start
from gambeson.training.interrupt import deferred_interrupt
from gambeson.training.loop import run_steps
from gambeson.training.plan import identity as make_identity
from gambeson.training.plan import make_plan, require_same
from gambeson.training.players import Players, as_losses, as_players, make_optimizer
from gambeson.training.pool import batch, place, pool
from gambeson.training.ratio import measure
from gambeson.training.road import Progress, Road
from gambeson.training.session import Session, pack, seeded, unpack


@dataclass(frozen=True, eq=False)
class TrainResult:
    """The trained model (the player "model", or the first), all players, metrics.jsonl's lines and cost.json's fields."""

    model: nn.Module
    players: Mapping[str, nn.Module]
    metrics: list[dict[str, Any]]
    cost: dict[str, Any]


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
        device, devices: auto, cpu, cuda or mps, and how many processes share each batch.
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
    plan = make_plan(as_losses(loss, players), method, optimizer, schedule, augment, settings, seed)
    if plan.train.keep == "best" and validation is None:
        raise UserError("train.keep is 'best', which needs validation images; set data.validation, or keep = 'last'")
    train_pool, validation_pool = pool(data), None if validation is None else pool(validation)
    fabric = start(device, devices, plan.train.precision)
    if len(train_pool) < fabric.world_size or plan.train.batch < fabric.world_size:
        raise UserError(f"{fabric.world_size} processes cannot share batches of {plan.train.batch} images; use fewer")
    modes = [(module, module.training) for player in players.values() for module in player.modules()]
    dtype = torch.float64 if plan.train.precision == "64-true" else torch.float32
    memory = torch.channels_last if plan.train.channels_last else torch.contiguous_format
    for player in players.values():
        player.to(device=fabric.device, dtype=dtype).to(memory_format=memory)
        same_everywhere([*player.parameters(), *player.buffers()], fabric)
    road = Road(plan, place(train_pool, fabric.device), validation_pool and place(validation_pool, fabric.device),
                fabric, dtype, memory, None if run is None else Path(run), on_progress)  # fmt: skip
    _require_fit(players, road)
    session = Session(
        players,
        {name: make_optimizer(plan.optimizer, players[name]) for name in plan.losses},
        {name: {} for name in plan.losses},
        seeded(seed, "training noise", fabric.global_rank, fabric.device),
        make_identity(plan, train_pool.fingerprint, identity),
    )
    cuda = [fabric.device] if fabric.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(cuda), deferred_interrupt() as asked:
            torch.manual_seed(key(seed, "dropout", fabric.global_rank) % 2**63)
            _resume(session, road)
            lines = run_steps(session, road, asked)
            if plan.train.keep == "best":
                for name, player in players.items():
                    player.load_state_dict(session.best["players"][name])
            spent = _finish(session, road)
    finally:
        for module, training in modes:
            module.training = training
    return TrainResult(players.get("model", next(iter(players.values()))), players, lines, spent)


def _require_fit(players: Players, road: Road) -> None:
    """One image through every player that is a classifier of these labels, before hours are spent."""
    if "model" not in players:
        return
    x, _ = batch(road.data, torch.arange(1), road.fabric.device, road.dtype, road.memory)
    with torch.no_grad(), models.evaluating(players["model"]) as model:
        try:
            logits = model(x)
        except RuntimeError as error:
            raise UserError(f"the model does not take images of shape {tuple(x.shape)}: {error}") from None
    top, low = int(road.data.labels.max()), int(road.data.labels.min())
    if logits.ndim != 2 or low < 0 or top >= logits.shape[1]:
        raise UserError(f"the model gives {tuple(logits.shape)} for one image and labels reach from {low} to {top}; "
                        "it must give (1, classes) with every label in 0..classes-1")  # fmt: skip


def _resume(session: Session, road: Road) -> None:
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
            road.run.mkdir(parents=True, exist_ok=True)
            checkpoint.save(path, content)
    else:
        require_same(content["identity"], session.identity, str(path))
        unpack(content, session, road.fabric)
    if road.fabric.is_global_zero:
        metrics.cut_back(road.run / "metrics.jsonl", session.step)
    road.fabric.barrier()


def _finish(session: Session, road: Road) -> dict[str, Any]:
    """Write the weights, then the cost: a folder with cost.json is a finished run."""
    run, fabric = road.run, road.fabric
    if run is not None and (run / "cost.json").exists() and (run / "model.safetensors").exists():
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
