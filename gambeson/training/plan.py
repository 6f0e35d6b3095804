"""What a training run was asked for, complete and checked; and the text by which a resumed run recognises itself."""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gambeson.errors import UserError, nearest
from gambeson.losses import Loss
from gambeson.recipe import Augment, Optimizer, Schedule, Train, check
from gambeson.training import schedules

# What may change between two sessions of one run: none of it can change a weight. The recipe's own name, not the
# method's or the optimiser's.
FREE = ("train.checkpoint_seconds", "train.linearity", "train.ratio_steps", "name")
COMMON = ("players", "x", "y", "state", "generator")  # what every loss takes; the rest of its signature are its keys


@dataclass(frozen=True)
class Plan:
    losses: Mapping[str, Loss]
    method: Mapping[str, Any]
    optimizer: Optimizer
    schedule: Schedule
    augment: Augment
    train: Train
    seed: int


def make_plan(
    losses: Mapping[str, Loss],
    method: Mapping[str, Any] | None,
    optimizer: Mapping[str, Any] | Optimizer | None,
    schedule: Mapping[str, Any] | Schedule | None,
    augment: Mapping[str, Any] | Augment | None,
    settings: Mapping[str, Any],
    seed: int,
) -> Plan:
    """Validate every section; a mistake is a UserError that names the key."""
    for loss in losses.values():
        check_keys(loss, method or {})
    return Plan(
        losses,
        dict(method or {}),
        optimizer if isinstance(optimizer, Optimizer) else check(Optimizer, optimizer or {}, "optimizer"),
        schedule if isinstance(schedule, Schedule) else check(Schedule, schedule or {}, "schedule"),
        augment if isinstance(augment, Augment) else check(Augment, augment or {}, "augment"),
        check(Train, settings, "train"),
        seed,
    )


def check_keys(loss: Loss, options: Mapping[str, Any]) -> None:
    """The method's keys against the loss function's signature, their values as numbers or schedules."""
    parameters = {n: p for n, p in inspect.signature(loss).parameters.items() if n not in COMMON}
    method, takes_any = _name(loss), any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {n: p for n, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    for name, value in options.items():
        if name not in named and not takes_any:
            raise UserError(f"method {method} has no key {name}; {nearest(name, list(named))}")
        schedules.check(name, value)
    missing = [n for n, p in named.items() if p.default is p.empty and n not in options]
    if missing:
        raise UserError(f"method {method} needs the key {missing[0]}; add it under [method]")


def identity(plan: Plan, data: str, extra: Mapping[str, Any] | None) -> str:
    """Everything that decides the weights, as JSON: the plan (or `extra`, its recipe) and the data's hash."""
    own = {
        "method": {"loss": {name: _name(loss) for name, loss in plan.losses.items()}, **plan.method},
        "optimizer": plan.optimizer.model_dump(),
        "schedule": plan.schedule.model_dump(),
        "augment": plan.augment.model_dump(),
        "train": plan.train.model_dump(),
        "seed": plan.seed,
    }
    return json.dumps({**(extra or own), "training data": data}, sort_keys=True, default=repr)


def require_same(before: str, now: str, where: str) -> None:
    """Refuse to go on with a run that was begun with other settings, naming the first that differ."""
    old, new = _flat(json.loads(before)), _flat(json.loads(now))
    names = sorted((old.keys() | new.keys()) - set(FREE))
    missing = "(not set)"
    changed = [
        f"{name} was {old.get(name, missing)}, now {new.get(name, missing)}"
        for name in names
        if old.get(name, missing) != new.get(name, missing)
    ]
    if changed:
        more = f" (and {len(changed) - 3} more)" if len(changed) > 3 else ""
        raise UserError(
            f"{where} was begun with other settings: {'; '.join(changed[:3])}{more}. Use the same settings to go on, "
            f"another folder, or delete {where} to begin anew"
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def _name(loss: Loss) -> str:
    return getattr(loss, "__qualname__", type(loss).__qualname__)
