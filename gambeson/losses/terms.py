"""What several losses share: noisy copies, how a network is searched, divergences between predictions."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from math import isfinite, log
from operator import add
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from gambeson import attacks
from gambeson.attacks import ascent
from gambeson.attacks.objectives import full
from gambeson.errors import UserError
from gambeson.models.first_layers import quick_to_images
from gambeson.models.modes import evaluating, frozen
from gambeson.noise import Kind, Noise, draw, noisy
from gambeson.types import Images, Logits

Loss = Callable[..., tuple[dict[str, Tensor], Mapping[str, Tensor]]]
Attack = TypeVar("Attack", bound=Callable[..., Any])


def noisy_copy(x: Images, kind: Kind, scale: float, generator: torch.Generator) -> Images:
    """x + noise, a fresh draw for every value, not clipped to [0, 1] (nor do the certificates); scale 0 gives x.
    Splitting noise is not added: x's values become the middles of their cells.
    """
    if scale == 0:
        return x
    noise = Noise(kind, scale)
    return noisy(noise, x, draw(noise, tuple(x.shape), generator, x.device, x.dtype))


def draws_of(
    x: Images, kind: Kind, scale: float, draws: int, generator: torch.Generator
) -> tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """(noise (N, m, C, H, W), how it makes images (N, 1, C, H, W) noisy): draws that are used more than once."""
    at_least("draws", draws, 1)
    if scale == 0:
        return torch.zeros_like(x)[:, None].expand(-1, draws, *x.shape[1:]), add
    law = Noise(kind, scale)
    drawn = draw(law, (draws * len(x), *x.shape[1:]), generator, x.device, x.dtype)
    return drawn.unflatten(0, (draws, len(x))).transpose(0, 1), partial(noisy, law)


def answer(model: Callable[[Images], Logits], x: Images) -> Logits:
    """The model's logits in float32 or better: under autocast they may come in half precision."""
    return full(model(x))


@contextmanager
def searched(model: nn.Module) -> Iterator[None]:
    """Inside, gradients go to images: evaluation mode, weights that take none."""
    with evaluating(model), frozen(model), quick_to_images(model):
        yield


_kept: ContextVar[list[Any] | Iterator[Any] | None] = ContextVar("kept", default=None)


def once(attack: Attack) -> Attack:
    """`attack`, whose answers `keeping` keeps or gives back: what a loss attacks with, so that `awp` need not again."""

    @wraps(attack)
    def asked(*words: Any, **options: Any) -> Any:
        kept = _kept.get()
        if kept is not None and not isinstance(kept, list):
            return next(kept)
        found = attack(*words, **options)
        if kept is not None:
            kept.append(found)
        return found

    return cast("Attack", asked)


@contextmanager
def keeping(kept: list[Any] | Iterator[Any]) -> Iterator[None]:
    """Inside, what attacks find goes into the list; or comes from the iterator, and nothing is attacked."""
    token = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(token)


ascend, ddn, pgd = once(ascent.ascend), once(attacks.ddn), once(attacks.pgd)


def jittered(x: Images, generator: torch.Generator) -> Images:
    """x + 0.001 N(0, 1): where TRADES and MART begin to search, as published."""
    return x + 0.001 * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def soft_cross_entropy(target: Logits, logits: Logits) -> Tensor:
    """Mean over rows of H(p, q) = -sum_j p_j log q_j, p = softmax(target), q = softmax(logits); nothing is detached.

    >>> round(soft_cross_entropy(torch.zeros(1, 2), torch.zeros(1, 2)).item(), 4)
    0.6931
    """
    return -(log_softmax(target, 1).exp() * log_softmax(logits, 1)).sum(1).mean()


def kl_divergence(target: Logits, logits: Logits) -> Tensor:
    """Mean over rows of KL(p || q) = sum_j p_j (log p_j - log q_j), p and q as above; nothing is detached."""
    return kl_of_each(target, logits).mean()


def kl_of_each(target: Logits, logits: Logits) -> Tensor:
    """KL(p || q) of every row (N,)."""
    p = log_softmax(target, 1)
    return (p.exp() * (p - log_softmax(logits, 1))).sum(1)


def kl_from(target: Tensor, log_p: Tensor) -> Tensor:
    """KL(target || p) over the last axis, of probabilities, which may be 0, and logarithms of others."""
    return (torch.xlogy(target, target) - target * log_p).sum(-1)


def consistency_of(logits: Tensor, weight: float, entropy: float) -> Tensor:
    """weight (1/m) sum_i KL(p_mean || p_i) + entropy H(p_mean), the mean over images; logits (N, m, K) of m draws."""
    log_p = logits.log_softmax(2)
    log_mean = log_p.logsumexp(1) - log(log_p.shape[1])
    mean = log_mean.exp()
    own = (mean * log_mean).sum(1)
    apart = own - (mean[:, None] * log_p).sum(2).mean(1)
    return (weight * apart - entropy * own).mean()


def at_least(name: str, value: int, least: int) -> None:
    """Refuse what is no integer >= least."""
    if not (isinstance(value, int) and not isinstance(value, bool) and value >= least):
        raise UserError(f"{name} is {value!r}; it must be an integer >= {least}")


def not_negative(**values: float) -> None:
    """Refuse weights that are negative or not finite."""
    for name, value in values.items():
        if not (isfinite(value) and value >= 0):
            raise UserError(f"{name} is {value}; it must be finite and >= 0")
