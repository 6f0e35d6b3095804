"""Methods that train smoothed classifiers, against values computed by hand."""

import sys
from math import log
from statistics import NormalDist
from typing import Any

import pytest
import torch
from by_hand import NOISE, Scalar, X, Y, ce, p
from torch import Tensor, nn

from gambeson.errors import UserError
from gambeson.losses import cat_rs, consistency, macer, smoothadv, smoothmix
from gambeson.losses import terms as shared

DRAWN = (1.0, 0.5), (-2.0, -1.0)  # what `two_draws` gives the two images, times the scale


@pytest.fixture
def two_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first draw of the two images is +1, -2, the second half of that, times the scale."""

    def draw(noise: Any, shape: tuple[int, ...], *_: Any) -> Tensor:
        return noise.scale * torch.cat([NOISE / (1 + i) for i in range(shape[0] // 2)])

    monkeypatch.setattr(shared, "draw", draw)


def call(loss: Any, model: nn.Module | None = None, **method: Any) -> dict[str, Tensor]:
    players = {"model": Scalar() if model is None else model}
    return loss(players, X, Y, state={}, generator=torch.Generator().manual_seed(0), **method)[0]


def mean_ce(first: float, second: float, scale: float = 0.5) -> float:
    """Of the noisy copies of two images moved to `first` and `second`."""
    each = [ce(first + scale * e, 0) for e in DRAWN[0]] + [ce(second + scale * e, 1) for e in DRAWN[1]]
    return sum(each) / 4


class Watched(Scalar):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x.detach().clone())
        return super().forward(x)


@pytest.mark.usefixtures("two_draws")
class TestSmoothAdv:
    @pytest.mark.parametrize("order", ["log_of_mean", "mean_of_log"])
    def test_trains_at_the_end_of_the_ball_under_the_same_noise(self, order: str) -> None:
        found = call(smoothadv, sigma=0.5, eps=0.1, steps=3, order=order)["cross_entropy"].item()
        assert found == pytest.approx(mean_ce(0.2 - 0.1, 0.7 + 0.1), abs=1e-9)

    def test_the_attack_and_the_training_see_the_same_noise(self) -> None:
        model = Watched()
        call(smoothadv, model, sigma=0.5, eps=0.1, steps=3)
        offsets = torch.tensor(DRAWN, dtype=torch.float64).flatten() * 0.5
        assert len(model.asked) == 4
        for asked in model.asked:
            centres = asked.flatten() - offsets
            assert torch.allclose(centres[0::2], centres[1::2])  # both copies of an image lie around one point

    def test_one_draw_is_noisy_adversarial_training(self) -> None:
        found = call(smoothadv, sigma=0.5, eps=0.1, draws=1)["cross_entropy"].item()
        assert found == pytest.approx((ce(0.1 + 0.5, 0) + ce(0.8 - 1.0, 1)) / 2, abs=1e-9)

    @pytest.mark.parametrize("order", ["log_of_mean", "mean_of_log"])
    def test_what_the_attack_climbs(self, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
        climbed: list[Tensor] = []

        def ascend(value: Any, start: Tensor, **_: Any) -> Tensor:
            climbed.append(value(start))
            return start

        monkeypatch.setattr(sys.modules[smoothadv.__module__], "ascend", ascend)
        call(smoothadv, sigma=0.5, eps=0.1, order=order)
        right = [p(0.2 + 0.5 * e) for e in DRAWN[0]], [1 - p(0.7 + 0.5 * e) for e in DRAWN[1]]
        expected = [-log(sum(each) / 2) if order == "log_of_mean" else -sum(map(log, each)) / 2 for each in right]
        assert climbed[0].tolist() == pytest.approx(expected, abs=1e-12)

    def test_ddn_stays_in_the_ball_and_leaves_what_it_cannot_fool(self) -> None:
        model = Watched()
        call(smoothadv, model, sigma=0.01, eps=0.05, attack="ddn", steps=3)
        offsets = torch.tensor(DRAWN, dtype=torch.float64).flatten() * 0.01
        moved = (model.asked[-1].flatten() - offsets)[::2]
        assert moved.tolist() == pytest.approx([0.2, 0.7], abs=1e-9)  # x = 0.2 is of class 0 as far as the box goes

    def test_stein_asks_for_scores_alone(self) -> None:
        class Blind(Watched):
            def forward(self, x: Tensor) -> Tensor:
                z = super().forward(x)
                return z if self.training else z.detach()

        found = call(smoothadv, Blind(), sigma=0.5, eps=0.1, gradient="stein", steps=3)["cross_entropy"].item()
        assert found == pytest.approx(mean_ce(0.1, 0.8), abs=1e-9)

    def test_with_other_terms(self) -> None:
        found = call(smoothadv, sigma=0.5, eps=0.1, consistency=5.0, entropy=0.5, stability=2.0)
        copies = [[0.1 + 0.5 * e for e in DRAWN[0]], [0.8 + 0.5 * e for e in DRAWN[1]]]
        assert found["consistency"].item() == pytest.approx(sum(apart(pair, 5.0, 0.5) for pair in copies) / 2, abs=1e-9)
        clean = [0.2, 0.2, 0.7, 0.7]
        moved = [value for pair in copies for value in pair]
        price = sum(-p(a) * log(p(b)) - (1 - p(a)) * log(1 - p(b)) for a, b in zip(clean, moved, strict=True)) / 4
        assert found["stability"].item() == pytest.approx(2 * price, abs=1e-9)


def apart(points: list[float], weight: float, entropy: float) -> float:
    """weight mean KL(p_mean || p_i) + entropy H(p_mean)."""
    mean = sum(map(p, points)) / len(points)
    own = mean * log(mean) + (1 - mean) * log(1 - mean)
    cross = sum(mean * log(p(x)) + (1 - mean) * log(1 - p(x)) for x in points) / len(points)
    return weight * (own - cross) - entropy * own


@pytest.mark.usefixtures("two_draws")
def test_consistency() -> None:
    found = call(consistency, sigma=0.5, weight=5.0)
    assert found["cross_entropy"].item() == pytest.approx(mean_ce(0.2, 0.7), abs=1e-12)
    pairs = [[0.2 + 0.5 * e for e in DRAWN[0]], [0.7 + 0.5 * e for e in DRAWN[1]]]
    assert found["consistency"].item() == pytest.approx(sum(apart(pair, 5.0, 0.5) for pair in pairs) / 2, abs=1e-12)


@pytest.mark.usefixtures("two_draws")
def test_consistency_differentiates_the_mean_too() -> None:
    step, model = 1e-6, Scalar()
    [found] = torch.autograd.grad(call(consistency, model, sigma=0.5, weight=5.0)["consistency"], model.a)
    ahead, behind = (call(consistency, Scalar(1.5 + s), sigma=0.5, weight=5.0)["consistency"] for s in (step, -step))
    assert found.item() == pytest.approx((ahead - behind).item() / (2 * step), abs=1e-7)


def quantile(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


@pytest.mark.usefixtures("two_draws")
def test_macer() -> None:
    """Both images are right: 0.7 + 0.5 (-2, -1) are negative and zero-ish, of class 1."""
    found = call(macer, sigma=0.5, weight=3.0, draws=2, beta=2.0, gamma=4.0)
    right = [p(0.2 + 0.5 * e) for e in DRAWN[0]], [1 - p(0.7 + 0.5 * e) for e in DRAWN[1]]
    assert found["cross_entropy"].item() == pytest.approx(-sum(log(sum(pair) / 2) for pair in right) / 2, abs=1e-12)
    sharp = [sum(p(0.2 + 0.5 * e, 3.0) for e in DRAWN[0]) / 2, sum(1 - p(0.7 + 0.5 * e, 3.0) for e in DRAWN[1]) / 2]
    hinges = [4 - (quantile(q) - quantile(1 - q)) if q > 0.5 else 0 for q in sharp]
    assert found["radius"].item() == pytest.approx(3 * 0.25 * sum(hinges) / 2, abs=1e-9)


@pytest.mark.usefixtures("two_draws")
def test_macer_leaves_out_what_is_wrong_or_beyond_the_hinge() -> None:
    options = {"sigma": 0.5, "draws": 2, "beta": 1.0, "weight": 2.0}
    wrong = torch.tensor([0, 0])  # the second image is of class 1 under both draws
    terms, _ = macer({"model": Scalar()}, X, wrong, state={}, generator=torch.Generator(), **options)
    q = sum(p(0.2 + 0.5 * e) for e in DRAWN[0]) / 2
    assert terms["radius"].item() == pytest.approx(2 * 0.25 * (8 - (quantile(q) - quantile(1 - q))) / 2, abs=1e-9)
    model = Scalar(300.0)  # q rounds to 1 for the first image, whose radius is infinite; the second is wrong half way
    found = call(macer, model, sigma=0.1, draws=2)["radius"]
    assert torch.autograd.grad(found, model.a, allow_unused=True)[0].isfinite()


@pytest.mark.usefixtures("two_draws")
def test_smoothmix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 0.3 from 0.2 and 0.7 end at the ends of the box; l = 0.3."""
    monkeypatch.setattr(torch, "rand", lambda *size, dtype=None, **_: torch.full(size, 0.6, dtype=dtype))
    found = call(smoothmix, sigma=0.1, step_size=0.3, weight=5.0, steps=2)
    assert found["cross_entropy"].item() == pytest.approx(mean_ce(0.2, 0.7, 0.1), abs=1e-12)
    mean = sum(p(0.2 + 0.1 * e) for e in DRAWN[0]) / 2
    target = 0.7 * mean + 0.3 / 2
    mixed = [p(0.7 * 0.2 + 0.3 * 0.0 + 0.1 * e) for e in DRAWN[0]]
    price = sum(target * (log(target) - log(q)) + (1 - target) * (log(1 - target) - log(1 - q)) for q in mixed) / 2
    # the second image, of class 1 at 0.7, is wrong under this network: left out, and counted in the mean
    assert found["smoothmix"].item() == pytest.approx(5 * price / 2, abs=1e-9)


@pytest.mark.usefixtures("two_draws")
def test_cat_rs_keeps_the_easiest_draws_of_an_unsure_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first image is right under both draws: K = 2; the second under one of two: K = 1 with this luck."""
    monkeypatch.setattr(torch, "rand", lambda *size, dtype=None, **_: torch.tensor([[0.9, 0.9], [0.4, 0.6]]).to(dtype))
    found = call(cat_rs, sigma=0.6, draws=2, weight=0.0)["cross_entropy"].item()
    second = min(ce(0.7 + 0.6 * e, 1) for e in DRAWN[1])
    assert found == pytest.approx((sum(ce(0.2 + 0.6 * e, 0) for e in DRAWN[0]) / 2 + second / 2) / 2, abs=1e-12)


class Pair(nn.Module):
    """Logits (a x1, b x2) for images of two pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.5, 0.7], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) * self.scale


class TestCatRS:
    IMAGE, LABEL = torch.tensor([0.9, 0.1], dtype=torch.float64).reshape(1, 1, 1, 2), torch.tensor([0])

    def moved(self, players: dict[str, nn.Module], **method: Any) -> tuple[list[Tensor], dict[str, Tensor]]:
        asked: list[Tensor] = []
        handle = players["model"].register_forward_pre_hook(lambda _, inputs: asked.append(inputs[0].detach().clone()))
        generator = torch.Generator().manual_seed(3)
        options = {"sigma": 0.1, "draws": 3, **method}
        terms, _ = cat_rs(players, self.IMAGE, self.LABEL, state={}, generator=generator, **options)
        handle.remove()
        return asked, terms

    def test_noise_moves_and_keeps_its_mean_and_about_its_length(self) -> None:
        asked, terms = self.moved({"model": Pair()}, steps=4)
        before, after = (rows.flatten(1) - self.IMAGE.flatten(1) for rows in (asked[0], asked[-1]))
        assert terms["worst"].item() > 0
        assert not torch.allclose(before, after)
        assert torch.allclose(before.mean(1), after.mean(1))
        spread = (after - after.mean(1, keepdim=True)).square().mean(1)
        assert bool((spread <= before.square().mean(1)).all())  # as published: scaled before it is centred

    def test_the_worst_draw_counts_against_the_smoothed_prediction(self) -> None:
        model = Pair()
        asked, terms = self.moved({"model": model}, steps=2, weight=2.0)
        target = model(asked[0]).softmax(1).mean(0)
        divergences = (target * (target.log() - model(asked[-1]).log_softmax(1))).sum(1)
        assert terms["worst"].item() == pytest.approx(2 * divergences.max().item(), abs=1e-12)

    def test_a_teacher_gives_the_target(self) -> None:
        teacher = Pair()
        with torch.no_grad():
            teacher.scale *= -1
        model = Pair()
        asked, terms = self.moved({"model": model, "teacher": teacher}, steps=2)
        target = teacher(asked[0]).softmax(1).mean(0)
        divergences = (target * (target.log() - model(asked[-1]).log_softmax(1))).sum(1)
        assert terms["worst"].item() == pytest.approx(divergences.max().item(), abs=1e-12)

    def test_a_teacher_is_asked_in_evaluation_mode_and_left_as_it_is(self) -> None:
        layer = nn.BatchNorm1d(2).double()
        teacher = nn.Sequential(nn.Flatten(), layer, nn.Dropout(), nn.Linear(2, 2).double()).train()
        self.moved({"model": Pair(), "teacher": teacher})
        assert int(layer.num_batches_tracked) == 0
        assert teacher.training
        assert layer.training

    def test_an_unsure_image_is_not_attacked(self) -> None:
        model = Pair()
        with torch.no_grad():
            model.scale *= -1  # wrong under every draw: K = 1
        assert self.moved({"model": model})[1]["worst"].item() == 0


@pytest.mark.parametrize(
    ("loss", "method", "message"),
    [
        (smoothadv, {"sigma": 0.5, "eps": 0.1, "attack": "cw"}, "attack is 'cw'"),
        (smoothadv, {"sigma": 0.5, "eps": 0.1, "draws": 0}, "draws is 0; it must be an integer >= 1"),
        (smoothadv, {"sigma": 0.5, "eps": 0.1, "order": "mean"}, "order is 'mean'; it must be one of"),
        (smoothadv, {"sigma": 0.5, "eps": 0.1, "consistency": -1.0}, "consistency is -1.0; it must be finite and >= 0"),
        (smoothadv, {"sigma": 0.5, "eps": 0.1, "gradient": "stein", "noise": "splitting"}, "it is for gaussian noise"),
        (smoothadv, {"sigma": 0.5, "eps": 0.1, "gradient": "stein", "order": "mean_of_log"}, "and log_of_mean"),
        (consistency, {"sigma": 0.5, "weight": -1.0}, "weight is -1.0"),
        (macer, {"sigma": 0.5, "gamma": 0.0}, "beta is 16.0 and gamma 0.0; both must be > 0"),
        (smoothmix, {"sigma": 0.5, "step_size": 1.0, "steps": 0}, "steps is 0; it must be an integer >= 1"),
        (cat_rs, {"sigma": 0.5, "eps": -1.0}, "eps is -1.0; it must be finite and >= 0"),
    ],
)
def test_values_outside_their_range_are_refused(loss: Any, method: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call(loss, **method)
