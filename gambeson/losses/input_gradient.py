"""Input-gradient regularisation: a price on the gradient of the loss to the image (Ross and Doshi-Velez 2018)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gambeson.losses.terms import answer, not_negative
from gambeson.types import Images, Labels


def input_gradient(
    players: Mapping[str, nn.Module],
    x: Images,
    y: Labels,
    *,
    state: Mapping[str, Tensor],
    generator: torch.Generator,
    weight: float,
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """CE(f(x), y) + weight ||grad_x CE(f(x), y)||_2^2, the means over the batch.

    Args:
        players: {"model": f}, images -> logits (N, K).
        x: images (N, C, H, W) in [0, 1].
        y: labels (N,).
        state: handed back as it came.
        generator: not used.
        weight: >= 0, for gradients in [0, 1] pixel units. 0 is `plain`.
    Returns:
        ({"cross_entropy": scalar, "input_gradient": weight times the mean squared length}, state).

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)); _ = nn.init.zeros_(model[1].weight)
    >>> terms, _ = input_gradient({"model": model}, torch.rand(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), state={},
    ...                           generator=torch.Generator(), weight=1.0)
    >>> {name: round(term.item(), 4) for name, term in terms.items()}
    {'cross_entropy': 0.6931, 'input_gradient': 0.0}

    Paper: Ross and Doshi-Velez, "Improving the adversarial robustness and interpretability of deep neural networks by
    regularizing their input gradients", AAAI 2018, arXiv:1711.09404. Second order: the squared length is
    differentiated to the weights, which says little of a network of ReLUs where its loss is near 0. Batch
    normalisation: the gradient of one image's loss to itself includes its share in the batch's statistics.
    """
    not_negative(weight=weight)
    model = players["model"]
    if weight == 0:
        return {"cross_entropy": cross_entropy(answer(model, x), y)}, state
    x = x.detach().requires_grad_()
    loss = cross_entropy(answer(model, x), y, reduction="none")
    [gradient] = torch.autograd.grad(loss.sum(), x, create_graph=True)
    return {"cross_entropy": loss.mean(), "input_gradient": weight * gradient.flatten(1).square().sum(1).mean()}, state
