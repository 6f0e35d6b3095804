"""The command in this process, and a small trained run on the embedded digits."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from gambeson import cli
from gambeson.inference import rate, trial


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


def call(*words: object) -> Outcome:
    """`gambeson WORDS` in this process."""
    import io

    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["gambeson", *map(str, words)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
            status = 0
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    finally:
        sys.argv = before
    return Outcome(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def gambeson() -> Callable[..., Outcome]:
    return call


@pytest.fixture
def process() -> Callable[..., subprocess.Popen]:
    """`gambeson WORDS` in a process of its own, which can be killed."""

    def start(*words: object, **options: object) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "gambeson", *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
            **options,
        )  # fmt: skip

    return start


@pytest.fixture(autouse=True)
def _no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process no trial finds another form, and no other processes are started, because the machine is slow."""
    monkeypatch.setattr(rate, "SECONDS", 0.0)
    monkeypatch.setattr(trial, "TRIAL_FROM", 1e9)
    monkeypatch.setattr(trial, "PROCESSES_FROM", inf)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """`--threads` in this process is for one test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def _trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "digits-noisy"
    settings = ("train.epochs=3", "train.ratio_steps=2")
    done = call("train", "digits-noisy", *(word for s in settings for word in ("--set", s)), "--out", run)
    assert done.status == 0, done.err
    return run


@pytest.fixture
def run(_trained_once: Path, tmp_path: Path) -> Path:
    """A copy of a run that was trained for three epochs and not yet evaluated."""
    return Path(shutil.copytree(_trained_once, tmp_path / "run"))


MODULE = '''
import torch

def bare():
    """Expects normalised inputs: its weights are made for (x - 0.5) / 0.25."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))

def narrow():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 7))

def broken():
    raise RuntimeError("no such luck")

def scores():
    """Nothing but answers, from a tensor that carries a gradient."""
    from gambeson.models import BlackBox
    net = bare()
    return BlackBox(lambda images: net(torch.as_tensor(images)), identity="bare")

def local():
    class Net(torch.nn.Sequential):
        pass
    return Net(bare())

def with_dropout():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = bare()
        def forward(self, x):
            return torch.nn.functional.dropout(self.inner(x))
    return Net()
'''


@pytest.fixture(scope="session")
def _weights() -> dict:
    """For `bare`, from a network that was trained in parallel: its names begin with module."""
    import torch
    from torch import nn

    from gambeson.data import load

    data = load("digits", "train")
    x = (data.pixels().flatten(1) - 0.5) / 0.25
    layer = nn.Linear(64, 10)
    optimizer = torch.optim.Adam(layer.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(layer(x), data.labels).backward()
        optimizer.step()
    return {f"module.1.{name}": tensor for name, tensor in layer.state_dict().items()}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _weights: dict) -> Path:
    """A folder, now the current one, with a module of the user's own and weights for its model."""
    import torch

    folder = tmp_path / "own"
    folder.mkdir()
    name = "mine_" + tmp_path.name.replace("-", "_")  # no two tests import the same
    (folder / f"{name}.py").write_text(MODULE)
    torch.save(_weights, folder / "weights.pt")
    monkeypatch.chdir(folder)
    return folder / name
