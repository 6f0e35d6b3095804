"""PixelDP training: how much noise, and where."""

import pytest
import torch
from torch import Tensor, nn

from gambeson.errors import UserError
from gambeson.losses import noisy, pixeldp
from gambeson.models.sensitivity import sensitivity


class Seen(nn.Module):
    """The identity, which keeps what it saw."""

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return x


def call(model: nn.Module, x: Tensor, loss=pixeldp, **method) -> float:
    y, generator = torch.arange(len(x)) % 3, torch.Generator().manual_seed(0)
    return loss({"model": model}, x, y, state={}, generator=generator, **method)[0]["cross_entropy"].item()


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        yield


def test_there_is_as_much_noise_behind_the_first_layer_as_it_can_carry_images_apart() -> None:
    first, seen = nn.Conv2d(1, 4, 3, padding=1), Seen()
    model, x = nn.Sequential(first, seen, nn.Flatten(), nn.Linear(256, 3)), torch.rand(500, 1, 8, 8)
    call(model, x, sigma=0.5, draws=2)
    noise = seen.x - first(x.repeat(2, 1, 1, 1))
    scale = 0.5 * sensitivity(model, 8, 8).item()
    assert noise.std().item() == pytest.approx(scale, rel=0.01)
    assert abs(noise.mean().item()) < 0.01 * scale
    assert not torch.allclose(noise[:500], noise[500:])
    assert not first._forward_hooks


def test_behind_a_rotation_it_is_noisy_training() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)).double()
    nn.init.orthogonal_(model[1].weight)
    x = torch.rand(30_000, 1, 4, 4, dtype=torch.float64)
    found = call(model, x, sigma=2.0)
    assert found == pytest.approx(call(model, x, noisy, sigma=2.0), rel=0.01)
    assert found > 1.02 * call(model, x, sigma=0.0)


def test_the_hook_goes_whatever_happens() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Linear(5, 3))
    with pytest.raises(RuntimeError):
        call(model, torch.rand(2, 1, 4, 4), sigma=0.5)
    assert not model[1]._forward_hooks


@pytest.mark.parametrize(("method", "message"), [({"sigma": -1.0}, "sigma is -1.0"), ({"draws": 0}, "draws is 0")])
def test_values_outside_their_range_are_refused(method: dict, message: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(UserError, match=message):
        call(model, torch.rand(2, 1, 4, 4), **{"sigma": 0.5, **method})
