"""Recipes: what is read back, what is refused, and in which words."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gambeson import recipe
from gambeson.errors import UserError
from gambeson.recipe import Augment, Data, Model, Named, Optimizer, Recipe, Schedule, Train

SMALL = """
name = "small"
[data]
name = "digits"
[model]
name = "digits_cnn"
activation = "elu"
[method]
name = "stability"
sigma = 0.25
weight = {from = 0.0, to = 2.0, until = 0.5}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_free_keys_and_defaults(small: Path) -> None:
    found = recipe.load(small)
    assert found.model.options == {"activation": "elu"}
    assert found.method.options == {"sigma": 0.25, "weight": {"from": 0.0, "to": 2.0, "until": 0.5}}
    assert found.train == Train()
    assert found.model.init is None
    with pytest.raises(Exception, match="frozen"):
        found.train.epochs = 3  # type: ignore[misc]


def test_overrides_are_toml_values(small: Path) -> None:
    found = recipe.load(
        small,
        ["train.epochs=3", "method.weight.to=1.5", "model.name=lenet", "optimizer.nesterov=true", "schedule.lr='step'",
         "schedule.milestones=[0.5, 0.75]", "data.augment.crop=2", "model.init=runs/first"],
    )  # fmt: skip
    assert found.train.epochs == 3
    assert found.method.options["weight"] == {"from": 0.0, "to": 1.5, "until": 0.5}
    assert (found.model.name, found.model.init) == ("lenet", "runs/first")
    assert found.optimizer.nesterov is True
    assert found.schedule.milestones == [0.5, 0.75]
    assert found.data.augment.crop == 2


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_of_the_package_comes_back_from_its_dump(name: str, tmp_path: Path) -> None:
    found = recipe.load(name)
    assert found.name == name
    (tmp_path / "recipe.toml").write_text(recipe.dump(found))
    assert recipe.load(tmp_path) == found  # a run folder is read like a recipe


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        Recipe,
        name=st.from_regex(r"\A[A-Za-z0-9._-]{1,20}\Z"),
        seed=st.integers(0, 2**63 - 1),
        data=st.builds(Data, name=st.just("folder:/a b"), validation=st.integers(0, 10**6), augment=st.builds(Augment)),
        model=st.builds(Model, name=st.just("lenet"), init=st.none() | st.just("a/b.pt")),
        method=st.builds(Named, name=st.just("x"), key=st.floats(allow_nan=False) | st.text() | st.booleans()),
        optimizer=st.builds(Optimizer, lr=st.floats(1e-300, 1e300), nesterov=st.just(False)),
        schedule=st.just(Schedule(lr="step", milestones=[0.1, 1 / 3])),
        train=st.builds(Train, checkpoint_seconds=st.floats(1e-3, 1e6)),
    )
)
def test_dump_and_load_are_inverse(tmp_path_factory: pytest.TempPathFactory, made: Recipe) -> None:
    path = tmp_path_factory.mktemp("recipes") / "any.toml"
    path.write_text(recipe.dump(made), encoding="utf-8")
    assert recipe.load(path) == made


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", r"unknown key train\.epoch in \[train\]; did you mean epochs\?"),
        ("trian.epochs=3", r"unknown key trian; did you mean train\?"),
        ("data.augment.crops=3", r"unknown key data\.augment\.crops in \[data\.augment\]; did you mean crop\?"),
        ("train.epochs=0", r"train\.epochs is 0; it must be greater than or equal to 1"),
        ("train.epochs=2.5", r"train\.epochs is 2\.5; it must be a valid integer"),
        ("train.epochs='3'", r"train\.epochs is '3'; it must be a valid integer"),
        ("train.epochs=true", r"train\.epochs is True; it must be a valid integer"),
        ("train.precision=fp16", r"train\.precision is 'fp16'; it must be '32-true', 'bf16-mixed' or '64-true'"),
        ("optimizer.lr=nan", r"optimizer\.lr is nan; it must be"),
        ("optimizer.lr=-1", r"optimizer\.lr is -1; it must be greater than 0"),
        ("optimizer.momentum=1.0", r"optimizer\.momentum is 1\.0; it must be less than 1"),
        ("optimizer.name=sdg", r"optimizer\.name is 'sdg'; it must be 'sgd', 'adam' or 'adamw'"),
        ("schedule.lr=step", r"schedule: milestones go with lr = 'step'"),
        ("schedule.milestones=[0.5]", r"schedule: milestones go with lr = 'step'"),
        ("schedule.lr=one_cycle", r"schedule: lr = 'one_cycle' needs a warmup"),
        ("seed=-1", r"seed is -1; it must be greater than or equal to 0"),
        ("name='a b'", r"name is 'a b'; it should match pattern"),
        ("train=3", r"train is 3; it must be"),
        ("train.epochs.x=3", r"epochs holds a value, not a section|train\.epochs is"),
        ("train.epochs", r"'train\.epochs' is not key=value; write for example train\.epochs=3"),
        ("=3", "is not key=value"),
    ],
)
def test_mistakes_are_one_line_that_names_key_value_and_range(small: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        recipe.load(small, [override])
    assert "\n" not in str(caught.value)


def test_several_mistakes_are_all_named(small: Path) -> None:
    with pytest.raises(UserError, match=r"train\.epochs is 0; .*; train\.batch is 0; "):
        recipe.load(small, ["train.epochs=0", "train.batch=0"])


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("name = \n")
    with pytest.raises(UserError, match=r"broken\.toml is not TOML.*line 1"):
        recipe.load(path)
    path.write_text('name = "x"')
    with pytest.raises(UserError, match="data is missing; add it; model is missing; add it; method is missing"):
        recipe.load(path)
    with pytest.raises(UserError, match="does not exist; known by name: cifar10"):
        recipe.load(tmp_path / "none.toml")
    with pytest.raises(UserError, match=r"mnist-stabilty-0\.50 is not known; did you mean mnist-stability-0\.50\?"):
        recipe.load("mnist-stabilty-0.50")


def test_the_recipe_in_the_docs_is_the_one_that_ships(tmp_path: Path) -> None:
    page = Path(__file__).parents[1] / "docs" / "training.md"
    (tmp_path / "recipe.toml").write_text(re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)[0])
    assert recipe.load(tmp_path) == recipe.load("mnist-stability-0.50")


def test_the_module_is_torch_free() -> None:
    code = "import sys, gambeson.recipe as r; r.load('mnist-plain'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
