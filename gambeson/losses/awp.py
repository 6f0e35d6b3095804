"""Adversarial weight perturbation, around any method (Wu, Xia and Wang 2020)."""

from collections.abc import Mapping
from functools import wraps
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gambeson.losses.terms import Loss, keeping, not_negative
from gambeson.types import Images, Labels, Logits


class Shifted(nn.Module):
    """`model` with other weights, which its own gradients reach."""

    def __init__(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model, self.weights = model, weights

    def forward(self, x: Images) -> Logits:
        found: Tensor = functional_call(self.model, dict(self.weights), (x,))
        return found


def awp(loss: Loss) -> Loss:
    """`loss` at the worst weights nearby: its gradient is taken at w + v, v = awp ||w|| g / ||g|| layer by layer,

    g = the gradient of the loss to the weights that multiply (convolutions and fully connected layers). A key `awp`
    (>= 0, published 0.005; 0 is the method itself) is added to the method's own.

    What the method attacks is found once, at w, and its noise is the same in both passes. One forward and backward pass
    over the training rows more than the method takes. As published, batch normalisation's running averages see the
    second pass only. With several ranks each finds v on its own slice of the batch.

    Paper: Wu, Xia and Wang, "Adversarial weight perturbation helps robust generalization", NeurIPS 2020,
    arXiv:2004.05884.
    """

    @wraps(loss)
    def perturbed(
        players: Mapping[str, nn.Module],
        x: Images,
        y: Labels,
        *,
        state: Mapping[str, Tensor],
        generator: torch.Generator,
        awp: float,
        **method: Any,
    ) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
        not_negative(awp=awp)
        if awp == 0:
            return loss(players, x, y, state=state, generator=generator, **method)
        model, before = players["model"], generator.get_state()
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        found: list[Any] = []
        with keeping(found):
            terms, _ = loss(players, x, y, state=state, generator=generator, **method)
        weights = {name: w for name, w in model.named_parameters() if w.requires_grad and w.dim() > 1}
        gradients = torch.autograd.grad(sum(terms.values(), x.new_zeros(())), list(weights.values()), allow_unused=True)
        worst = {
            name: w + awp * w.detach().norm() * g / g.norm().clamp(min=torch.finfo(g.dtype).tiny)
            for (name, w), g in zip(weights.items(), gradients, strict=True)
            if g is not None
        }
        for buffer, was in buffers:
            buffer.copy_(was)
        generator.set_state(before)
        with keeping(iter(found)):
            return loss(
                {**players, "model": Shifted(model, worst)}, x, y, state=state, generator=generator, **method
            )  # fmt: skip

    own = signature(loss)
    added = Parameter("awp", Parameter.KEYWORD_ONLY, annotation=float)
    perturbed.__signature__ = own.replace(parameters=[*own.parameters.values(), added])  # type: ignore[attr-defined]
    return perturbed
