"""The networks that are trained, their losses and optimisers. An ordinary method has one player, called "model"."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from gambeson.errors import UserError
from gambeson.losses import Loss, get
from gambeson.recipe import Optimizer

FUSED = ("cpu", "cuda")  # devices with one kernel for the whole update

Players = Mapping[str, nn.Module]


def as_players(model: nn.Module | Players) -> dict[str, nn.Module]:
    """One module is the player "model"."""
    return {"model": model} if isinstance(model, nn.Module) else dict(model)


def as_losses(
    loss: str | Loss | Mapping[str, Loss], players: Players, options: Collection[str] = ()
) -> dict[str, Loss]:
    """Which loss moves which player, in the order of the updates; a single loss moves "model". options: the method's
    keys.
    """
    one = get(loss, options) if isinstance(loss, str) else loss
    losses = dict(one) if isinstance(one, Mapping) else {"model": one}
    for name in losses:
        if name not in players:
            raise UserError(f"loss for player {name!r}: there is no such player; players are {', '.join(players)}")
        if not any(parameter.requires_grad for parameter in players[name].parameters()):
            raise UserError(
                f"player {name!r} has no parameter that requires a gradient; unfreeze it, or give it no loss"
            )
    return losses


def make_optimizer(spec: Optimizer, module: nn.Module) -> torch.optim.Optimizer:
    """A new optimiser for the parameters that require a gradient."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    common: dict[str, Any] = {
        "lr": spec.lr,
        "weight_decay": spec.weight_decay,
        "fused": parameters[0].device.type in FUSED,
    }
    if spec.name == "sgd":
        return torch.optim.SGD(parameters, momentum=spec.momentum, nesterov=spec.nesterov, **common)
    kind = torch.optim.Adam if spec.name == "adam" else torch.optim.AdamW
    return kind(parameters, betas=(spec.momentum, 0.999), **common)
