"""From a recipe to a trained model: keys are checked before data is read, and every recipe runs two steps."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gambeson import build, data, models, recipe
from gambeson.data import Dataset
from gambeson.errors import UserError

SHAPES = {"digits": (1, 8, 8, 16), "mnist": (1, 28, 28, 255), "cifar10": (3, 32, 32, 255)}
QUICK = ["train.epochs=1", "train.ratio_steps=0"]


def made_up(name: str, split: str, *, data_dir: Any = None, validation: int = 0, seed: int = 0) -> Dataset:
    """Two batches of four images in the form of a real data set."""
    channels, height, width, levels = SHAPES[name]
    generator = torch.Generator().manual_seed(seed)
    rows = 8 if split == "train" else 4
    images = torch.randint(0, levels + 1, (rows, channels, height, width), generator=generator).to(torch.uint8)
    labels, classes = torch.arange(rows) % 10, tuple("0123456789")
    return Dataset(name, split, images, labels, levels, classes, torch.arange(rows))


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("data was read before the recipe was checked")

    monkeypatch.setattr(data, "load", refuse)


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_runs_two_steps_on_made_up_data(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "load", made_up)
    words = [*QUICK, "train.batch=4", *(["method.steps=2"] if name.endswith("preactresnet18-8") else [])]
    result = build.train_recipe(recipe.load(name, words), run=None, device="cpu")
    assert result.metrics[-1]["step"] == 2
    assert result.metrics[-1]["loss"] > 0
    assert all(bool(p.isfinite().all()) for p in result.model.parameters())


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("digits-noisy", "method.sigme=0.5", "method noisy has no key sigme; did you mean sigma"),
        ("digits-plain", "method.sigma=0.5", "method plain has no key sigma; Known: none"),
        ("digits-plain", "method.name=noisy", "method noisy needs the key sigma; add it under"),
        ("digits-plain", "method.name=nosy", "method 'nosy' is not known; did you mean noisy"),
        ("digits-noisy", "method.sigma=-0.5", "noise scale is -0.5; it must be in"),
        ("digits-noisy", "method.sigma=wide", "method noisy does not take these values"),
        ("digits-noisy", "method.sigma={from=0.0}", r"method\.sigma is .* a schedule is"),
        ("digits-noisy", "method.noise=gausian", "noise kind is 'gausian'"),
        ("digits-stability", "method.weight={from=0.0, to=-1.0}", "weight is -1.0; it must be finite"),
        ("digits-plain", "model.name=lenett", "model 'lenett' is not known"),
        (
            "digits-plain",
            "model.activaton=elu",
            "model 'digits_cnn' has no option 'activaton'; did you mean activation",
        ),
        ("digits-plain", "model.activation=gelu", "activation is 'gelu'"),
        ("digits-plain", "model.activation=3", "activation is 3"),
        ("digits-plain", "model.mean=0.5", "model digits_cnn does not take these options|mean"),
        ("digits-plain", "model.init=nowhere.pt", "nowhere.pt does not exist"),
    ],
)
def test_mistakes_are_found_before_data_is_read(name: str, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build.from_recipe(recipe.load(name, [override]))


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize("name", models.names())
def test_no_architecture_is_refused_by_the_check(name: str) -> None:
    build.check(recipe.load("mnist-plain", [f"model.name={name}"]))


@pytest.mark.usefixtures("no_data")
def test_best_needs_validation_images() -> None:
    with pytest.raises(UserError, match="needs images held out"):
        build.check(recipe.load("digits-plain", ["train.keep=best", "data.validation=0"]))
    with pytest.raises(UserError, match="linearity is measured on images held out"):
        build.check(recipe.load("digits-plain", ["train.linearity=0.1", "data.validation=0"]))


def test_seed_decides_the_initial_weights() -> None:
    def first(*overrides: str) -> torch.Tensor:
        return build.from_recipe(recipe.load("digits-plain", overrides)).model.conv1.weight  # type: ignore[return-value]

    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert torch.equal(first(), first())
    assert not torch.equal(first(), first("seed=1"))
    assert torch.equal(torch.get_rng_state(), before)


def test_train_and_validation_are_disjoint_and_test_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    splits, real = [], data.load

    def watched(name: str, split: str, **rest: Any) -> Dataset:
        splits.append(split)
        return real(name, split, **rest)

    monkeypatch.setattr(data, "load", watched)
    objects = build.from_recipe(recipe.load("digits-plain"))
    assert objects.validation is not None
    assert not set(objects.train.indices.tolist()) & set(objects.validation.indices.tolist())
    assert set(splits) == {"train", "validation"}


def test_a_run_folder_holds_what_later_work_needs(tmp_path: Path) -> None:
    run = tmp_path / "first"
    spec = recipe.load("digits-noisy", QUICK)
    result = build.train_recipe(spec, run=run)
    assert {p.name for p in run.iterdir()} >= {"recipe.toml", "model.safetensors", "cost.json", "metrics.jsonl"}
    assert recipe.load(run) == spec
    again = models.load(run / "model.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), result.model.parameters(), strict=True))


def test_init_starts_from_a_run_or_from_weights(tmp_path: Path) -> None:
    first = tmp_path / "first"
    build.train_recipe(recipe.load("digits-plain", QUICK), run=first)
    trained = load_file(first / "model.safetensors")
    for source in (first, first / "model.safetensors"):
        model = build.from_recipe(recipe.load("digits-noisy", [f"model.init={source}", "seed=3"])).model
        assert all(torch.equal(value, trained[name]) for name, value in model.state_dict().items())
