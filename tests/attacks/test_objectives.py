"""Losses against explicit formulas and an independent cross-entropy."""

import pytest
import torch
from torch.nn import functional as F

from gambeson.attacks.objectives import LOSSES, fooled, objective
from gambeson.errors import UserError

Z = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4
Y = torch.randint(6, (40,), generator=torch.Generator().manual_seed(1))
T = (Y + torch.randint(1, 6, (40,), generator=torch.Generator().manual_seed(2))) % 6


def explicit(loss, z, y, t):
    """Row by row, from the definitions."""
    ordered = sorted(z, reverse=True)
    best = max(v for s, v in enumerate(z) if s != (y if t is None else t))
    if loss == "margin":
        return best - z[y] if t is None else z[t] - best
    if t is None:
        return (best - z[y]) / (ordered[0] - ordered[2] + 1e-12)
    return (z[t] - z[y]) / (ordered[0] - (ordered[2] + ordered[3]) / 2 + 1e-12)


@pytest.mark.parametrize("loss", ["margin", "dlr"])
@pytest.mark.parametrize("targets", [None, T])
def test_margin_and_dlr_by_hand(loss, targets):
    goals = [None] * 40 if targets is None else targets.tolist()
    wanted = [explicit(loss, z, y, t) for z, y, t in zip(Z.tolist(), Y.tolist(), goals, strict=True)]
    torch.testing.assert_close(objective(loss, Z, Y, targets), torch.tensor(wanted, dtype=torch.float64))


def test_cross_entropy_and_its_gradient_are_torchs():
    z = Z.clone().requires_grad_()
    for value, wanted in (
        (objective("cross_entropy", z, Y), F.cross_entropy(z, Y, reduction="none")),
        (objective("cross_entropy", z, Y, T), -F.cross_entropy(z, T, reduction="none")),
    ):
        torch.testing.assert_close(value, wanted)
        ours, theirs = (torch.autograd.grad(v.sum(), z, retain_graph=True)[0] for v in (value, wanted))
        torch.testing.assert_close(ours, theirs)


def test_cross_entropy_keeps_its_gradient_where_torchs_is_zero():
    z = torch.tensor([[60.0, 0.0, -1.0]], requires_grad=True)
    y = torch.tensor([0])
    assert (torch.autograd.grad(F.cross_entropy(z, y), z)[0][0, 0] == 0).all()  # why ours is computed otherwise
    ours = torch.autograd.grad(objective("cross_entropy", z, y).sum(), z)[0][0]
    exact = torch.tensor([60.0, 0.0, -1.0], dtype=torch.float64).exp()
    torch.testing.assert_close(ours[1:].double(), exact[1:] / exact.sum(), rtol=1e-5, atol=0)


def test_margin_is_positive_exactly_on_success():
    assert torch.equal(objective("margin", Z, Y) > 0, fooled(Z, Y))
    assert torch.equal(objective("margin", Z, Y, T) > 0, fooled(Z, Y, T))


def test_dlr_ignores_shift_and_scale():
    torch.testing.assert_close(objective("dlr", 7 * Z + 3, Y), objective("dlr", Z, Y))
    torch.testing.assert_close(objective("dlr", 7 * Z + 3, Y, T), objective("dlr", Z, Y, T))


def test_too_few_classes_for_dlr():
    with pytest.raises(UserError, match="dlr with 2 classes; it needs 3: use margin or cross_entropy"):
        objective("dlr", Z[:, :2], Y % 2)
    with pytest.raises(UserError, match="targeted dlr with 3 classes; it needs 4"):
        objective("dlr", Z[:, :3], Y % 3, (Y + 1) % 3)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("targets", [None, T])
def test_half_precision_gives_float32(loss, targets):
    for dtype in (torch.bfloat16, torch.float16):
        half = Z.to(dtype)
        value = objective(loss, half, Y, targets)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, objective(loss, half.float(), Y, targets))
    assert objective(loss, Z, Y, targets).dtype == torch.float64
