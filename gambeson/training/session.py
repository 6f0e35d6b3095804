"""Everything that changes while training: what a checkpoint holds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gambeson.errors import UserError
from gambeson.keys import key
from gambeson.training.cost import Counts
from gambeson.training.distributed import gathered

if TYPE_CHECKING:
    from lightning_fabric import Fabric

State = Mapping[str, Tensor]  # what a loss carries from step to step


@dataclass
class Session:
    """The state of a run after `step` updates, on one rank: `sums` are this epoch's terms times images, over the
    `images` of this rank's slices.
    """

    players: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    states: dict[str, State]
    generator: torch.Generator
    identity: str
    step: int = 0
    seconds: float = 0.0
    images: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    best: dict[str, Any] = field(default_factory=dict)
    peak_memory: int = 0


def seeded(seed: int, purpose: str, rank: int, device: torch.device) -> torch.Generator:
    """A generator for one rank; torch takes 64 bits of a seed (and its CPU generator uses 32 of them)."""
    return torch.Generator(device).manual_seed(key(seed, purpose, rank) % 2**63)


def seed_global(seed: int, rank: int, device: torch.device) -> None:
    """Torch's own generators, of the CPU and of `device`: dropout draws from them."""
    torch.default_generator.manual_seed(key(seed, "dropout", rank) % 2**63)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(key(seed, "dropout", rank) % 2**63)


def pack(session: Session, fabric: "Fabric") -> dict[str, Any]:
    """Tensors, numbers and strings only. Every rank calls it: what ranks do not share goes in for each of them."""
    device = fabric.device
    generators = [session.generator.get_state(), torch.get_rng_state()]
    if device.type == "cuda":
        generators.append(torch.cuda.get_rng_state(device))
    sums = {name: value.cpu() for name, value in session.sums.items()}
    own = {"generators": generators, "images": session.images, "sums": sums, "counts": asdict(session.counts)}
    return {
        "identity": session.identity,
        "step": session.step,
        "seconds": session.seconds,
        "best": session.best,
        "peak_memory": session.peak_memory,
        "players": {name: module.state_dict() for name, module in session.players.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in session.optimizers.items()},
        "states": {name: dict(state) for name, state in session.states.items()},
        "ranks": gathered(own, fabric),
    }


def unpack(content: dict[str, Any], session: Session, fabric: "Fabric") -> None:
    """Put a checkpoint's content into `session`, in place."""
    device = fabric.device
    written = len(content["ranks"])
    if written != fabric.world_size:
        raise UserError(
            f"the checkpoint was written by {written} processes, now there are {fabric.world_size}; use as many, or "
            "another folder"
        )
    for name, module in session.players.items():
        module.load_state_dict(content["players"][name])
    for name, optimizer in session.optimizers.items():
        optimizer.load_state_dict(content["optimizers"][name])
    session.states.update(
        {name: {key: tensor.to(device) for key, tensor in state.items()} for name, state in content["states"].items()}
    )
    own = content["ranks"][fabric.global_rank]
    generators = own["generators"]
    session.generator.set_state(generators[0])
    torch.set_rng_state(generators[1])
    if device.type == "cuda":
        torch.cuda.set_rng_state(generators[2], device)
    session.step, session.seconds, session.images = content["step"], content["seconds"], own["images"]
    session.sums = {name: tensor.to(device) for name, tensor in own["sums"].items()}
    session.counts = Counts(**own["counts"])
    session.best, session.peak_memory = content["best"], content["peak_memory"]
