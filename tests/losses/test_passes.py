"""What the pages say that a step of every method costs, in passes: counted."""

from collections import Counter

import pytest
import torch
import training
from torch import nn

from gambeson import losses

N = 6
EXPECTED: dict[str, dict[tuple[str, int], int]] = {
    "plain": {("training", N): 1},
    "noisy": {("training", N): 1},
    "PixelDP": {("training", N): 1},
    "stability": {("training", 2 * N): 1},
    "consistency, m = 2": {("training", 2 * N): 1},
    "MACER, m = 16": {("training", 16 * N): 1},
    "SmoothAdv, m = 2, T = 2": {("image", 2 * N): 2, ("training", 2 * N): 1},
    "SmoothAdv, m = 4, T = 10": {("image", 4 * N): 10, ("training", 4 * N): 1},
    "SmoothMix, m = 4, T = 4": {("image", 4 * N): 4, ("training", 4 * N): 2},
    "CAT-RS, m = 4, T = 4": {("image", 4 * N): 4, ("training", 4 * N): 2},
    "fast": {("image", N): 1, ("training", N): 1},
    "PGD, 10 steps": {("forward", N): 3, ("image", N): 10, ("training", N): 1},
    "PGD, 10 steps, AWP": {("forward", N): 3, ("image", N): 10, ("training", N): 2},
    "TRADES, 10 steps": {("forward", N): 1, ("image", N): 10, ("training", 2 * N): 1},
    "MART, 10 steps": {("image", N): 10, ("training", 2 * N): 1},
    "input gradient": {("double", N): 1},
    "CURE": {("double", N): 2},
    "LLR, 2 steps": {("double", N): 1, ("image", N): 2, ("training", N): 1},
    "LLR, 10 steps": {("double", N): 1, ("image", N): 10, ("training", N): 1},
}


@pytest.mark.parametrize("label", training.METHODS)
def test_passes_of_a_step(label: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    net = training.Net(model, torch.rand(N, 1, 4, 4), torch.arange(N) % 3, torch.float32)
    name, options = training.METHODS[label]
    if name == "macer":
        nn.init.normal_(model[3].weight, std=0.01)  # none of its images is beyond the hinge
    assert training.passes(net, name, options) == Counter(EXPECTED[label])


def test_every_method_is_counted() -> None:
    assert {name for name, _ in training.METHODS.values()} == set(losses.__all__)
    assert set(EXPECTED) == set(training.METHODS)


def test_the_benchmark_writes_ratios(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["training.py", "--model", "digits_cnn", "--data", "digits", "--batch", "8", "--rounds", "2"]
    monkeypatch.setattr("sys.argv", [*words, "--only", "fast", "--out", str(tmp_path)])
    monkeypatch.setattr(training, "METHODS", dict(training.METHODS))
    training.main()
    text = (tmp_path / "training-digits_cnn.md").read_text()
    assert [line.split("|")[1].strip() for line in text.splitlines()[2:]] == ["plain", "fast", "TRADES, 10 steps"]
