"""The smoothed classifier for production: what it answers is what is certified, whatever the batch."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gambeson
from gambeson.errors import UserError
from gambeson.inference import Form
from gambeson.smoothed import classifier as smoothed_classifier
from gambeson.smoothed.classifier import SmoothedClassifier


class Bright(nn.Module):
    """Class 1 where the mean pixel is above 1/2; class 2 never."""

    def forward(self, x: Tensor) -> Tensor:
        side = 20 * (x.mean((1, 2, 3)) - 0.5)
        return torch.stack([-side, side, torch.full_like(side, -99.0)], 1)


IMAGES = torch.stack([torch.full((1, 4, 4), level) for level in (0.1, 0.3, 0.5, 0.7, 0.9)])


def classifier(seed: int = 0) -> SmoothedClassifier:
    return SmoothedClassifier(Bright().eval(), "gaussian:0.25", 3, seed=seed)


def test_it_answers_or_abstains() -> None:
    found = classifier().predict(IMAGES, draws=500)
    assert found.dtype == np.int64
    assert found[[0, 1, 3, 4]].tolist() == [0, 0, 1, 1]
    assert classifier().classes_.tolist() == [0, 1, 2]
    assert classifier().predict(IMAGES[2:3], draws=30, alpha=1e-6).tolist() == [-1]


def test_company_batch_and_kind_of_array_change_nothing() -> None:
    one, images = classifier(), torch.rand(7, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = one.predict(images, draws=60)
    assert [int(one.predict(image[None], draws=60)[0]) for image in images] == whole.tolist()
    assert classifier().predict(images.numpy(), draws=60).tolist() == whole.tolist()
    assert one.predict(images.flip(0), draws=60).tolist() == whole[::-1].tolist()


def test_the_same_image_gets_the_same_noise_and_another_image_or_seed_another() -> None:
    seen = []

    class Watched(Bright):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.clone())
            return super().forward(x)

    def noise(seed: int, image: Tensor) -> Tensor:
        one = SmoothedClassifier(Watched().eval(), "gaussian:0.25", 3, seed=seed)
        one.predict(image[None], draws=100)
        return seen[-1][:100] - image

    first, again = noise(1, IMAGES[0]), noise(1, IMAGES[0])
    assert torch.equal(first, again)
    for other in (noise(2, IMAGES[0]), noise(1, IMAGES[1])):
        assert (other - first).abs().mean() > 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: one.predict(IMAGES, draws=0), "draws is 0"),
        (lambda one: one.predict(IMAGES, alpha=1.0), "alpha is 1.0"),
        (lambda one: one.certify(IMAGES, draws=5), "draws is 5"),
        (lambda one: one.certify(IMAGES, select_draws=0), "select_draws is 0"),
        (
            lambda one: one.certify(IMAGES, draws=10**13),
            "draws is 10,000,000,000,000; it must be at most 1,000,000,000",
        ),
    ],
)
def test_draws_that_decide_nothing_are_refused(call, message) -> None:
    with pytest.raises(UserError, match=message):
        call(classifier())


def test_images_are_looked_at_where_the_model_is(monkeypatch) -> None:
    """A model on another device than the images', as on a GPU."""
    model, places = Bright().eval(), []
    model.weight = nn.Parameter(torch.zeros(1))
    monkeypatch.setattr(smoothed_classifier, "device_of", lambda model: torch.device("meta"))
    monkeypatch.setattr(smoothed_classifier, "require", lambda model, x, y, classes: places.append(x.device.type))
    SmoothedClassifier(model, "gaussian:0.25", 3).predict(IMAGES, draws=50)
    assert places == ["meta"]


def test_without_a_seed_it_draws_a_secret_one() -> None:
    seeds = {SmoothedClassifier(Bright().eval(), "gaussian:0.25", 3).seed for _ in range(3)}
    assert len(seeds) == 3


@pytest.mark.parametrize("radii", [None, [0.0, 0.25, 0.5]])
def test_certified_radii_are_below_the_distance(radii) -> None:
    found = classifier().certify(IMAGES, radii, draws=3_000)
    distance = (IMAGES.mean((1, 2, 3)) - 0.5).abs() * 4  # a half-space in 16 pixels
    assert (found.predict[[0, 1, 3, 4]] == [0, 0, 1, 1]).all()
    assert (found.radius <= distance.numpy()).all()
    assert found.radius[0] >= 0.48
    assert len(found.records) == 5
    assert all(
        record["selected"] == int(answer)
        for record, answer in zip(found.records, found.predict, strict=True)
        if answer != -1
    )


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    SmoothedClassifier(model, "gaussian:0.25", 3).predict(IMAGES, draws=50)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (IMAGES * 255, r"by the largest \(255\)"),
        (IMAGES[0], "give float images"),
        ((IMAGES * 255).to(torch.uint8), "give float images"),
        (IMAGES * float("nan"), "image 0: a value is NaN"),
        (IMAGES[:0], "at least one"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(x, message) -> None:
    with pytest.raises(UserError, match=message):
        classifier().predict(x)


def test_images_of_a_shape_for_which_the_form_was_not_tried_are_refused() -> None:
    one, small = classifier(), IMAGES[:, :, :3]
    one.predict(IMAGES, draws=50)
    for call in (one.predict, one.certify):
        with pytest.raises(UserError, match=r"images are \(1, 3, 4\), and the form was tried on \(1, 4, 4\).*another"):
            call(small, draws=50)
    assert classifier().predict(small, draws=500)[0] == 0


def test_what_is_no_classifier_is_refused() -> None:
    with pytest.raises(UserError, match="classes is 1"):
        SmoothedClassifier(Bright(), "gaussian:0.25", 1)
    with pytest.raises(UserError, match="noise is"):
        SmoothedClassifier(Bright(), "gaussian", 3)
    with pytest.raises(UserError, match="gives 3 logits but the data has 4"):
        SmoothedClassifier(Bright().eval(), "gaussian:0.25", 4).predict(IMAGES)
    assert gambeson.SmoothedClassifier is SmoothedClassifier


@pytest.mark.parametrize("noise", ["gaussian:0.25", "splitting:0.5"])
def test_a_radius_is_about_the_image_as_it_was_given(noise: str) -> None:
    """On a coarse lattice, images are rounded away from the boundary, which is no room that they have."""
    one = SmoothedClassifier(Bright().eval(), noise, 3, levels=16, seed=0)
    images = torch.stack([torch.full((1, 4, 4), level) for level in (7 / 16, 7.4 / 16, 7.49 / 16, 5 / 16)])
    found = one.certify(images, draws=20_000)
    # Everything from 7.5/16 on in all pixels is rounded to 8/16, which is the boundary itself.
    l2 = noise.startswith("gaussian")
    distance = ((7.5 / 16 - images.mean((1, 2, 3)).double()) * (4 if l2 else 16)).numpy()
    lattice = ((0.5 - images.mean((1, 2, 3)).double()) * (4 if l2 else 16)).numpy()
    assert found.predict.tolist() == [0, 0, 0, 0]
    assert (found.radius <= distance).all()
    assert found.radius[3] > 0
    assert (found.radius <= found.radius_on_lattice).all()
    assert (found.radius < found.radius_on_lattice)[[0, 1, 3] if l2 else [0, 3]].all()
    assert (found.radius_on_lattice <= lattice).all()


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([[0.0, 9.0, 0.0]]).expand(len(x), 3)


def test_a_grids_radii_hold_around_images_off_the_lattice() -> None:
    """It asks for as much more as rounding takes; what is certified reaches the grid's radius around the image too."""
    one = SmoothedClassifier(Constant().eval(), "gaussian:0.25", 3, seed=0)
    floats = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pixels = (floats * 255).round() * (1 / 255)  # a few last bits off
    whole = (floats * 255).round() / 255
    for images in (floats, pixels, whole):
        found = one.certify(images, [0.25, 0.5], draws=2_000)
        assert [record["stopped"] for record in found.records] == ["all radii certified"] * 2
        assert (found.radius_on_lattice >= 0.5).all()
        assert one.certify(images[1:], [0.25, 0.5], draws=2_000).records == found.records[1:]


@pytest.mark.parametrize(
    ("noise", "radii", "draws"),
    [
        ("gaussian:0.25", [0.25, 0.6], 2_000),
        ("laplace:0.25", [0.0, 0.25], 10_000),
        ("uniform:0.5", [0.0, 0.25], 10_000),
    ],
)
def test_an_image_off_the_lattice_goes_without_the_radii_that_it_cannot_reach(
    noise: str, radii: list[float], draws: int
) -> None:
    """Nor does it keep the others from theirs; what it claims is sound all the same."""
    one = SmoothedClassifier(Constant().eval(), noise, 3, seed=0)
    floats = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    whole = (floats * 255).round() / 255
    found = one.certify(torch.cat([whole, floats]), radii, draws=draws)
    assert found.predict.tolist() == [1, 1]
    assert found.radius_on_lattice[0] >= radii[-1] > found.radius_on_lattice[1] >= 0
    assert one.certify(whole, radii, draws=draws).records == found.records[:1]
    with pytest.raises(UserError, match=r"radius 9 (is out of reach|cannot be certified)"):
        one.certify(floats, [*radii, 9.0], draws=draws)


def test_a_grid_is_planned_once_for_all_images_on_the_lattice(monkeypatch: pytest.MonkeyPatch) -> None:
    plans, plan = [], smoothed_classifier.plan_around
    monkeypatch.setattr(smoothed_classifier, "plan_around", lambda *a, **k: plans.append(plan(*a, **k)) or plans[-1])
    levels = (torch.arange(5.0) * 40 / 255).reshape(5, 1, 1, 1).expand(5, 1, 4, 4)
    classifier().certify(levels, [0.1], draws=500)
    assert len(plans) == 1


def test_numpys_whole_numbers_are_whole_numbers() -> None:
    one = classifier()
    assert one.predict(IMAGES, draws=np.int64(500)).tolist() == one.predict(IMAGES, draws=500).tolist()
    with pytest.raises(UserError, match="must be a whole number"):
        one.predict(IMAGES, draws=500.0)


def test_mean_scores_are_served_too() -> None:
    """Class 0 wins seven votes of ten, and its mean score is below 1/2; where it is above, the two agree."""

    class Sure(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            wins = x.mean((1, 2, 3)) < 0.3
            return torch.stack([torch.where(wins, 0.1, -9.0), torch.zeros(len(x))], 1)

    model, images = Sure().eval(), torch.stack([torch.full((1, 1, 1), level) for level in (0.17, 0.0)])
    votes = SmoothedClassifier(model, "gaussian:0.25", 2, seed=0)
    scores = SmoothedClassifier(model, "gaussian:0.25", 2, smoothing="soft", seed=0)
    assert votes.predict(images, draws=2_000).tolist() == [0, 0]
    assert scores.predict(images, draws=2_000).tolist() == [-1, -1]
    counted = SmoothedClassifier(model, "splitting:0.5", 2, seed=0)
    bright = SmoothedClassifier(Bright().eval(), "gaussian:0.25", 3, smoothing="soft", seed=0)
    found = bright.certify(IMAGES, draws=3_000)
    assert found.predict[[0, 1, 3, 4]].tolist() == [0, 0, 1, 1]
    assert bright.predict(IMAGES, draws=3_000).tolist() == found.predict.tolist()
    assert all("scores" in record for record in found.records)
    for call, message in (
        (lambda: bright.certify(IMAGES, [0.0, 0.1]), "soft smoothing is certified .*: leave radii out"),
        (lambda: votes.certify(images, rule="beta_mixture", price=1e5), "without radii .*: leave price, rule out"),
        (lambda: counted.certify(IMAGES, [0.1]), "every noisy copy of splitting:0.5 is counted: leave radii out"),
        (lambda: bright.predict(IMAGES, draws=3), "draws is 3"),
        (lambda: SmoothedClassifier(model, "gaussian:0.25", 2, smoothing="mean"), "smoothing is 'mean'"),  # type: ignore[arg-type]
        (lambda: SmoothedClassifier(model, "splitting:0.5", 2, smoothing="soft"), "counts every noisy copy"),
        (lambda: SmoothedClassifier(model, "gaussian:0.25", 2, form="bf16"), "form is 'bf16'; give a"),  # type: ignore[arg-type]
        (lambda: SmoothedClassifier(model, "gaussian:0.25", 2, levels=0), "levels is 0"),
    ):
        with pytest.raises(UserError, match=message):
            call()


def test_rows_that_are_known_to_differ_count_as_such() -> None:
    """Whatever the first images show: then draws fill whole calls."""
    form = Form("float32", "contiguous", 50)
    one = SmoothedClassifier(Bright().eval(), "gaussian:0.25", 3, form=form, positions="mixture", seed=0)
    with pytest.raises(UserError, match="give a multiple of 50"):
        one.certify(IMAGES, draws=3_010)
    assert one.predict(IMAGES[:1], draws=1_000).tolist() == [0]
