"""Time of a step relative to plain training, measured on throw-away copies."""

import copy
from dataclasses import replace

import torch

from gambeson.losses import plain
from gambeson.training.cost import ratio_to_plain
from gambeson.training.players import make_optimizer
from gambeson.training.road import Road
from gambeson.training.session import Session, State, seeded
from gambeson.training.step import take_step


def measure(session: Session, road: Road) -> float | None:
    """Median seconds of this run's step over those of plain training of "model": same batch and process, alternating.

    Runs on copies after training: no weight, generator or count of the run changes. None when `ratio_steps` is 0, or
    where no player is called "model".
    """
    steps = road.plan.train.ratio_steps
    if steps == 0 or "model" not in session.players:
        return None
    rows = torch.arange(min(road.plan.train.batch, len(road.data)))
    device = road.fabric.device

    def stepper(quiet: Road) -> "_Stepper":
        players = {name: copy.deepcopy(player).train() for name, player in session.players.items()}
        optimizers = {name: make_optimizer(quiet.plan.optimizer, players[name]) for name in quiet.plan.losses}
        states: dict[str, State] = {
            name: {k: v.clone() for k, v in session.states.get(name, {}).items()} for name in quiet.plan.losses
        }
        noise = seeded(quiet.plan.seed, "ratio", road.fabric.global_rank, device)
        return _Stepper(Session(players, optimizers, states, noise, ""), quiet, rows)

    ordinary = replace(road, plan=replace(road.plan, losses={"model": plain}, method={}))
    synchronise = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    return ratio_to_plain(steps, stepper(road), stepper(ordinary), synchronise)


class _Stepper:
    """A step that starts at the run's end (progress stays there) and can be repeated."""

    def __init__(self, session: Session, road: Road, rows: torch.Tensor) -> None:
        self.session, self.road, self.rows = session, road, rows

    def __call__(self) -> None:
        self.session.step = self.road.steps - 1
        take_step(self.session, self.road, self.rows)
