"""One update of one player: the loss, its gradients (averaged over the ranks), the optimiser's step."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gambeson.losses import Loss
from gambeson.training.distributed import weighted_sum
from gambeson.training.session import State
from gambeson.types import Images, Labels

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def update(
    name: str,
    players: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    x: Images,
    y: Labels,
    *,
    state: State,
    generator: torch.Generator,
    method: Mapping[str, Any],
    share: float,
    fabric: "Fabric",
) -> tuple[dict[str, Tensor], State]:
    """Move player `name` one step; returns the detached terms of this rank's slice and the loss's new state.

    Gradients are taken with respect to this player's parameters only. With several ranks, each rank's gradients, its
    loss state and its buffers (running averages of batch normalisation) are averaged with its `share` of the batch as
    weight, in one message; an empty slice (share 0) takes part with zeros.
    """
    module = players[name]
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    terms: dict[str, Tensor] = {}
    gradients: list[Tensor | None] = [None] * len(parameters)
    if len(y):
        with fabric.autocast():
            terms, state = loss(players, x, y, state=state, generator=generator, **method)
            total = torch.stack([term.float() if term.dtype.itemsize < 4 else term for term in terms.values()]).sum()
        gradients = list(torch.autograd.grad(total, parameters, allow_unused=True))
    if fabric.world_size > 1:
        gradients, state = _average(module, parameters, gradients, state, share, fabric)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    for parameter in parameters:
        parameter.grad = None
    return {term: value.detach() for term, value in terms.items()}, state


def _average(
    module: nn.Module,
    parameters: list[nn.Parameter],
    gradients: list[Tensor | None],
    state: State,
    share: float,
    fabric: "Fabric",
) -> tuple[list[Tensor | None], State]:
    buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    averaged = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    filled = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
    mean = weighted_sum([*filled, *buffers, *averaged.values()], share, fabric)
    for buffer, value in zip(buffers, mean[len(filled) : len(filled) + len(buffers)], strict=True):
        buffer.copy_(value)
    new = zip(averaged, mean[len(filled) + len(buffers) :], strict=True)
    return list(mean[: len(filled)]), {**state, **dict(new)}
